//! The rooms of this server: what the domain is made of.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ruma_common::{OwnedServerName, OwnedUserId, RoomId};
use starling_bus::Bus;
use starling_db::Error;
use starling_events::{RoomVersion, SigningKey};
use starling_runtime::{Chance, Clock};
use starling_store::rooms::RoomSnapshot;
use starling_store::transactions::{Transaction, transactions_sweep};
use starling_store::{DeviceNum, RoomNum, Store, UserNum};
use tokio::sync::Semaphore;

use crate::elsewhere::Coming;
use crate::federation::ServersOfRooms;
use crate::hierarchy::Spaces;
use crate::inviting::Inviting;
use crate::pipeline::Heads;
use crate::policy::Policies;
use crate::receive::{Merging, Running, Turns};
use crate::remote::Remote;
use crate::transaction::InFlight;

/// So many identity servers may have third-party invites taken up at the same time.
const BINDING: usize = 4;

/// What the rooms are built from.
#[derive(Debug)]
pub struct Parts {
    /// The store.
    pub store: Store,
    /// Who wakes up.
    pub bus: Bus,
    /// The time.
    pub clock: Clock,
    /// Chance, for room ids.
    pub chance: Chance,
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// The key that signs events.
    pub signing_key: Arc<SigningKey>,
    /// The version of a new room when its creator names none.
    pub default_version: RoomVersion,
    /// Whether who leaves a room forgets it at once.
    pub forget_on_leave: bool,
    /// Other servers; `None` where this one speaks to none.
    pub remote: Option<Remote>,
}

/// The rooms. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rooms {
    pub(crate) parts: Arc<Parts>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) running: Arc<Running>,
    pub(crate) coming: Arc<Coming>,
    pub(crate) inviting: Arc<Inviting>,
    pub(crate) merging: Arc<Merging>,
    pub(crate) servers: Arc<ServersOfRooms>,
    pub(crate) spaces: Arc<Spaces>,
    pub(crate) policies: Arc<Policies>,
    /// Whose turn it is to have third-party invites taken up.
    pub(crate) binding: Arc<Semaphore>,
    /// When the last room was made, in milliseconds since 1970.
    last_made_ms: Arc<AtomicI64>,
}

/// Who acts: a local user, on one of their devices.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Their number.
    pub user: UserNum,
    /// Their id.
    pub user_id: OwnedUserId,
    /// The device, for transaction ids.
    pub device: DeviceNum,
    /// Whether it is a guest, who may join only where the room says so.
    pub is_guest: bool,
}

impl Rooms {
    /// Puts the domain together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let servers = ServersOfRooms::new(parts.store.cache_sizes().servers());
        Self {
            servers: Arc::new(servers),
            parts: Arc::new(parts),
            heads: Arc::default(),
            in_flight: Arc::default(),
            turns: Arc::default(),
            running: Arc::default(),
            coming: Arc::default(),
            inviting: Arc::default(),
            merging: Arc::default(),
            spaces: Arc::default(),
            policies: Arc::default(),
            binding: Arc::new(Semaphore::new(BINDING)),
            last_made_ms: Arc::default(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.store
    }

    /// The time for a new room: now, or the next millisecond in which none was made. Where a room's id is the hash of its
    /// create event, two rooms of one time and creator could be the same.
    pub(crate) fn time_of_new_room(&self) -> i64 {
        let now_ms = self.parts.clock.now_ms();
        let next = |last: i64| now_ms.max(last.saturating_add(1));
        let before = self
            .last_made_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        before.map_or(now_ms, next)
    }

    /// The number of a room; `unknown` when it isn't here.
    pub(crate) async fn room_num<E: From<Error>>(
        &self,
        room_id: &RoomId,
        unknown: E,
    ) -> Result<RoomNum, E> {
        self.store().room_num(room_id).await?.ok_or(unknown)
    }

    /// A room as committed; `unknown` when it isn't here.
    pub(crate) async fn room<E: From<Error>>(
        &self,
        room_id: &RoomId,
        unknown: E,
    ) -> Result<Arc<RoomSnapshot>, E> {
        let Some(room) = self.store().room_num(room_id).await? else {
            return Err(unknown);
        };
        self.store().room(room).await?.ok_or(unknown)
    }

    /// The version of a new room when its creator names none.
    #[must_use]
    pub fn default_version(&self) -> RoomVersion {
        self.parts.default_version
    }

    /// The name of this server.
    #[must_use]
    pub fn server_name(&self) -> &ruma_common::ServerName {
        &self.parts.server_name
    }

    /// Forgets the transaction ids from before `before_ms` among the next `stretch` after `after`; gives where the next
    /// stretch begins, or `None` at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_transactions(
        &self,
        before_ms: i64,
        after: Transaction,
        stretch: i64,
    ) -> Result<Option<Transaction>, Error> {
        let write = starling_db::Write::new("sweep_transactions").relaxed();
        let sweep =
            move |tx: &mut starling_db::Tx<'_>| transactions_sweep(tx, before_ms, &after, stretch);
        self.store().db().write(write, sweep).await
    }
}
