//! What is told of users and not kept in a room's history: receipts, typing, presence.
//!
//! * [`Ephemeral::mark_read`] sets receipts and the fully-read marker; they are stored.
//! * [`Ephemeral::set_typing`] says who is typing; it is in memory only.
//! * [`Ephemeral::begin_poll`], [`Ephemeral::set_presence`] and [`Ephemeral::note_activity`] say who is there;
//!   [`Ephemeral::presence`] answers who asks. Only the text that a user sets is stored.
//! * [`Ephemeral::receive_receipts`], [`Ephemeral::receive_typing`] and [`Ephemeral::receive_presences`] take what other
//!   servers say of their users.
//!
//! What clients are told of it is written by `sync`: receipts from the store, the rest from the bus.

mod heard;
mod keeper;
mod presence;
mod receipts;
mod remote;
mod typing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ruma_common::{OwnedUserId, RoomId};
use starling_bus::Bus;
use starling_db::{Error, Tx, Write};
use starling_runtime::Clock;
use starling_store::receipts::{waiting_receipts_old_rooms, waiting_receipts_sweep};
use starling_store::{DeviceNum, RoomNum, Store, UserNum};

use keeper::Memory;

pub use presence::{Poll, PresenceError, STATUS_BYTES};
pub use receipts::{MOST_RECEIVED, Mark, Marker, ReceiptError};
pub use remote::{
    LONGEST_REMOTE_TYPING, MOST_PRESENCES, RemotePresence, RemoteReceipt, RemoteTyping,
    read_presences, read_receipts,
};
pub use starling_bus::{Presence, PresenceState};
pub use starling_store::receipts::{ReceiptKey, ReceiptKind, ReceiptThread};
pub use typing::{DEFAULT_TYPING, LONGEST_TYPING, TypingError};

/// What [`Ephemeral`] works with.
#[derive(Debug)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Hears of every change.
    pub bus: Bus,
    /// Tells the time.
    pub clock: Clock,
    /// Whether users are told who is there.
    pub has_presence: bool,
}

/// Who acts: a device of a local user.
#[derive(Debug, Clone)]
pub struct Client {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: OwnedUserId,
    /// The device.
    pub device: DeviceNum,
}

/// Users who have joined a room.
#[derive(Debug)]
struct Members {
    room: RoomNum,
    users: BTreeMap<OwnedUserId, UserNum>,
}

/// Receipts, typing and presence of this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ephemeral {
    store: Store,
    memory: Arc<Memory>,
}

impl Ephemeral {
    /// Puts the domain together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            store,
            bus,
            clock,
            has_presence,
        } = parts;
        Self {
            store,
            memory: Arc::new(Memory::new(bus, clock, has_presence)),
        }
    }

    fn store(&self) -> &Store {
        &self.store
    }

    /// Those of `users` who have joined a room, wherever they are from; `None` when it isn't known here.
    async fn members(
        &self,
        room_id: &RoomId,
        users: Vec<OwnedUserId>,
    ) -> Result<Option<Members>, Error> {
        let Some(room) = self.store().room_num(room_id).await? else {
            return Ok(None);
        };
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let Some(snapshot) = store.room_read(tx, room)? else {
                return Ok(None);
            };
            let keys = store
                .names()
                .keys(tx, users.iter().map(|user| user.as_str()))?;
            let has_joined = |user: &&OwnedUserId| {
                let key = keys.get(user.as_str());
                key.is_some_and(|key| snapshot.has_joined(*key))
            };
            let joined = users.iter().filter(has_joined).map(|user| &**user);
            let numbers = store.names().users(tx, joined)?;
            let numbers = numbers.into_iter();
            Ok(Some(Members {
                room,
                users: numbers
                    .map(|(user, number)| (user.to_owned(), number))
                    .collect(),
            }))
        };
        self.store().db().read("members", read).await
    }

    /// Forgets at most `most` receipts that have waited for their event since before `before_ms`; how many it forgot. It
    /// locks their rooms, since an append there takes receipts while it holds the head of the log, for which another write
    /// of this one's batch may wait.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_waiting_receipts(&self, before_ms: i64, most: i64) -> Result<u64, Error> {
        let db = self.store().db();
        let find = move |tx: &mut Tx<'_>| waiting_receipts_old_rooms(tx, before_ms, most);
        let rooms = db.read("old_waiting_receipts", find).await?;
        if rooms.is_empty() {
            return Ok(0);
        }
        let write = Write::new("sweep_waiting_receipts")
            .relaxed()
            .locking(rooms.iter().map(|room| room.0));
        let sweep = move |tx: &mut Tx<'_>| waiting_receipts_sweep(tx, &rooms, before_ms, most);
        db.write(write, sweep).await
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
