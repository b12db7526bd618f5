//! State resolution: the state that follows from several states of a room, one file per step of the text.
//! <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>,
//! <https://spec.matrix.org/v1.19/rooms/v2/#state-resolution>,
//! <https://spec.matrix.org/v1.19/rooms/v1/#state-resolution>
//!
//! Pure and deterministic: the caller numbers events and state keys, says where the states differ ([`Conflicts`]), and
//! has the events at hand ([`RoomEvents`]). Work grows with the conflict and with the auth chains of what is in it down
//! to its oldest event, never with the room: what all states agree on is looked up, not walked.

mod auth_checks;
mod auth_graph;
mod conflicted_subgraph;
mod conflicts;
mod full_conflicted_set;
mod mainline_ordering;
mod partial_state;
mod power_cache;
mod power_events;
mod power_ordering;
mod v1;
mod v2;

use std::sync::Arc;

use starling_events::{Pdu, RoomVersion, room_version::StateResolution};
use thiserror::Error;

use crate::membership::Membership;

pub use conflicts::{Conflict, Conflicts, MAX_STATES};

/// An event, as the caller numbers it. The order of numbers means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventNum(pub i64);

/// A type of state and a state key, as the caller numbers them. The order of numbers means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    /// The type.
    pub kind: i64,
    /// The state key.
    pub key: i64,
}

/// A state event as resolution reads it.
#[derive(Debug, Clone)]
pub struct StateEvent {
    /// Its number.
    pub num: EventNum,
    /// The event.
    pub pdu: Arc<Pdu>,
    /// Its type and state key.
    pub key: StateKey,
    /// Where its sender's membership is.
    pub sender_key: StateKey,
    /// Of a member event, the membership.
    pub membership: Option<Membership>,
    /// Its auth events; in room versions where the room id stands for the create event, without that.
    pub auth_events: Box<[EventNum]>,
    /// One more than the greatest generation of its auth events; 0 without any. It is computed by whoever stores the
    /// event, never taken from it: the walk relies on it.
    pub generation: u32,
    /// Whether the event was rejected when it was received.
    pub is_rejected: bool,
}

/// What resolution asks about a room. All answers are of one room, and stay the same during a resolution.
pub trait RoomEvents {
    /// An event. `None`: it is not at hand.
    fn event(&self, event: EventNum) -> Option<&StateEvent>;

    /// The state events of the room that name `event` among their auth events, in any order; best newest first.
    fn cited_by(&self, event: EventNum) -> &[EventNum];

    /// The event at this key in the states to be resolved. Asked only for keys at which they don't differ.
    fn unconflicted(&self, key: StateKey) -> Option<EventNum>;

    /// The number of a type and a state key, if any event of the room has them.
    fn key(&self, kind: &str, state_key: &str) -> Option<StateKey>;

    /// The room's create event.
    fn create(&self) -> EventNum;
}

/// What changes at the keys where the states differed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The event at each conflicted key; `None`: the resolved state has none. All keys at which the states agree stay as
    /// they are. Rarely there are keys that no state has: an event there is in the auth chain of some. Sorted by key.
    pub changes: Vec<(StateKey, Option<EventNum>)>,
}

/// Why states can't be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// These events are needed and not at hand. Once they are, resolving again may name others: those that they cite.
    #[error("{} events are not at hand", .0.len())]
    Missing(Vec<EventNum>),
    /// More states than [`MAX_STATES`].
    #[error("more than {MAX_STATES} states")]
    TooManyStates,
}

/// Resolves the states of a room of this version.
pub fn resolve(
    version: RoomVersion,
    conflicts: &Conflicts,
    room: &impl RoomEvents,
) -> Result<Resolution, ResolveError> {
    match version.rules().state_resolution {
        StateResolution::V1 => v1::resolve(version, conflicts, room),
        StateResolution::V2 => v2::resolve(version, conflicts, room, v2::Revision::V2),
        StateResolution::V2_1 => v2::resolve(version, conflicts, room, v2::Revision::V2_1),
    }
}
