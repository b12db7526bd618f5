//! Unread counts: how many events a user has not read in a room and its threads that the user wants to be told of.
//! <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>
//!
//! Nothing is written per member. Each event's row holds running totals by shape ([`Totals`]), so what came after a
//! marker is a difference, and the user's rules as they are now say which shapes count ([`counts`]). Where rules look at
//! more than the shape, what they said of an event when it came is an exception, a row for this user and event
//! ([`note`]); who is looked for is in the room's [`watch`].

use std::sync::Arc;

pub(crate) mod cache;
pub mod counts;
pub(crate) mod marks;
pub(crate) mod note;
mod totals;
pub(crate) mod watch;

pub use counts::{Count, Unread, UnreadOf, threads_of_events};
pub use marks::{Marks, marks_of_rooms, rooms_behind};
pub use totals::Totals;

/// What the unread counts of a room are made of.
#[derive(Debug, Clone, Default)]
pub struct RoomUnread {
    /// How many events of which shape the main timeline has.
    pub(crate) totals: Totals,
    /// The position of the last event in a thread; 0 when there is none.
    pub(crate) last_threaded: i64,
    /// The position of the last event that was redacted; 0 when there is none.
    pub(crate) last_redacted: i64,
    /// Whose push rules look at more than the shape of events; `None` until somebody asked.
    pub(crate) watch: Option<Arc<watch::Watch>>,
}
