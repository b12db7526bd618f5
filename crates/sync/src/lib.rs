//! What a client is told: `/sync`, filters and pages of history.
//!
//! * [`Sync::sync`] answers `/sync`, at once or when something happens;
//! * [`Sync::initial_sync`], [`Sync::room_initial_sync`] and [`Sync::events`] answer what was there before it;
//! * [`Sync::messages`] answers `/rooms/{roomId}/messages`, [`Sync::context`] `/rooms/{roomId}/context/{eventId}`;
//! * [`Sync::relations`] and [`Sync::threads`] tell which events relate to others;
//! * [`Sync::key_changes`] tells whose devices have changed;
//! * [`Sync::closest_in_time`] finds an event by its time;
//! * [`Sync::stored_filter`] finds a filter that a client has uploaded;
//! * [`Filter`] and [`RoomEventFilter`] are what clients want to be told of.
//!
//! Answers are JSON bytes, spliced from stored events. Each is as of one position of the log, fixed first; nothing
//! above it is told. The rules are in `docs/dev/streams.md`.

mod context;
mod device_lists;
pub mod filter;
mod json;
mod messages;
mod notifications;
mod reading;
mod relations;
mod scan;
mod state;
mod stored_filters;
mod sync;
mod threads;
mod timestamp;
mod write;

use ruma_common::OwnedUserId;
use starling_bus::Bus;
use starling_runtime::Clock;
use starling_store::tokens::NotAToken;
use starling_store::{DeviceNum, Store, UserNum};
use stored_filters::StoredFilters;
use sync::SentMembers;
use tokio::sync::watch;

pub use context::ContextRequest;
pub use device_lists::DeviceLists;
pub use filter::{Filter, FilterError, RoomEventFilter};
pub use messages::MessagesRequest;
pub use notifications::NotificationsRequest;
pub use relations::RelationsRequest;
pub use stored_filters::StoredFilterError;
pub use sync::{EventsRequest, MAX_TIMEOUT, SyncRequest};
pub use threads::ThreadsRequest;

/// Who reads.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: OwnedUserId,
    /// The device that asks.
    pub device: DeviceNum,
}

/// Why a reader gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text is no token of this server, or, but for `since`, one of another time.
    #[error(transparent)]
    NotAToken(#[from] NotAToken),
    /// There is no such room here.
    #[error("the room is not known")]
    UnknownRoom,
    /// The user is not and never was in the room, or has forgotten it, and not everyone may read it.
    #[error("the user may not read the room")]
    NotAllowed,
    /// There is no such event that the user may see.
    #[error("there is no such event")]
    NotFound,
    /// The database cannot be read.
    #[error(transparent)]
    Db(#[from] starling_db::Error),
}

/// Tells clients what they ask for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sync {
    store: Store,
    bus: Bus,
    clock: Clock,
    stopping: watch::Receiver<bool>,
    stored_filters: StoredFilters,
    sent_members: SentMembers,
}

impl Sync {
    /// Reads from `store`, waits on `bus`, and stops waiting when `stopping` becomes true or its sender is gone.
    #[must_use]
    pub fn new(store: Store, bus: Bus, clock: Clock, stopping: watch::Receiver<bool>) -> Self {
        Self {
            stored_filters: StoredFilters::new(store.cache_sizes().filters()),
            sent_members: SentMembers::new(store.cache_sizes().sent_members()),
            store,
            bus,
            clock,
            stopping,
        }
    }
}
