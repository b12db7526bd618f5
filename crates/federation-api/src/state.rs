//! What handlers work with, and which servers they let in.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::Request;
use ruma_common::ServerName;
use starling_accounts::Accounts;
use starling_config::Config;
use starling_e2ee::Keys;
use starling_e2ee::ToDevice;
use starling_ephemeral::Ephemeral;
use starling_events::VerifyingKey;
use starling_events::server_keys::OldKey;
use starling_http::{Admits, BoxError, MatrixError, RateLimiter, RouteInfo, Servers, admit_server};
use starling_outbound::{FederationClient, KeyRing};
use starling_rooms::Rooms;
use starling_runtime::Clock;

use crate::own_keys::OwnKeys;

/// What the API is made of.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// Accounts, for profiles and devices.
    pub accounts: Accounts,
    /// Rooms.
    pub rooms: Rooms,
    /// Who types, has read, and is there.
    pub ephemeral: Ephemeral,
    /// The keys of devices.
    pub device_keys: Keys,
    /// Messages from device to device.
    pub to_device: ToDevice,
    /// Who we are to other servers, and which of them are up.
    pub client: FederationClient,
    /// The keys of other servers.
    pub keys: KeyRing,
    /// The keys that this server no longer signs with.
    pub old_keys: Vec<OldKey>,
    /// The time.
    pub clock: Clock,
    /// Counts what callers do; the other APIs share it.
    pub limiter: RateLimiter,
}

/// The state of the API's router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    own_keys: OwnKeys,
}

impl State {
    /// The state made of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            own_keys: OwnKeys::default(),
        }))
    }

    /// The document in which this server publishes its keys.
    pub(crate) fn own_keys(&self) -> &OwnKeys {
        &self.0.own_keys
    }
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

impl Admits for State {
    async fn admit(&self, route: &RouteInfo, request: Request) -> Result<Request, MatrixError> {
        admit_server(self, route, request).await
    }
}

impl Servers for State {
    fn server_name(&self) -> &ServerName {
        &self.client.identity().server_name
    }

    async fn key(
        &self,
        server: &ServerName,
        key_id: &str,
    ) -> Result<Option<VerifyingKey>, BoxError> {
        Ok(self.keys.current(server, key_id).await?)
    }

    fn heard_from(&self, server: &ServerName) {
        self.client.health().is_up(server);
    }

    fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }
}
