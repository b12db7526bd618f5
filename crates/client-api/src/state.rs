//! What handlers work with.

use std::ops::Deref;
use std::sync::Arc;

use starling_accounts::Accounts;
use starling_config::Config;
use starling_e2ee::Keys;
use starling_e2ee::{KeyBackups, ToDevice};
use starling_ephemeral::Ephemeral;
use starling_http::{RateLimiter, Shutdown};
use starling_rooms::Rooms;
use starling_runtime::{Chance, Clock};
use starling_search::Search;
use starling_store::Store;
use starling_sync::Sync;

/// What the API is made of.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Accounts and sessions.
    pub accounts: Accounts,
    /// Rooms.
    pub rooms: Rooms,
    /// Receipts, typing and presence.
    pub ephemeral: Ephemeral,
    /// The keys of devices.
    pub keys: Keys,
    /// Messages from device to device.
    pub to_device: ToDevice,
    /// Backups of room keys.
    pub key_backups: KeyBackups,
    /// What clients are told.
    pub sync: Sync,
    /// Finding users.
    pub search: Search,
    /// The time.
    pub clock: Clock,
    /// Makes ids of sessions of interactive authentication.
    pub chance: Chance,
    /// Counts what callers do; the other APIs share it.
    pub limiter: RateLimiter,
    /// Ends long polls.
    pub shutdown: Shutdown,
}

/// The state of the API's router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State(Arc<Parts>);

impl State {
    /// The state made of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
