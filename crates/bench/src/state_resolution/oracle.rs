//! ruma's state resolution, given a room of ours.

use std::{
    borrow::Borrow,
    cell::RefCell,
    fmt::{Debug, Display},
    hash::Hash,
};

use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, RoomId, UserId, room_version_rules::RoomVersionRules,
};
use ruma_events::TimelineEventType;
use ruma_state_res::{Event, StateMap, utils::event_id_set::EventIdSet};
use rustc_hash::FxHashMap;
use serde_json::value::RawValue;
use starling_events::{Pdu, RoomVersion};
use starling_stateres::resolution::{EventNum, StateEvent, StateKey};

use super::full_conflicted_set::{EventSet, members};
use crate::room::{Room, place};

/// How the other implementation names an event: owned, as in its own tests and benchmarks, or borrowed, which is the
/// least work.
pub trait Id<'a>:
    Clone + Debug + Display + Eq + Ord + Hash + Borrow<EventId> + From<&'a EventId>
{
}

impl<'a, T> Id<'a> for T where
    T: Clone + Debug + Display + Eq + Ord + Hash + Borrow<EventId> + From<&'a EventId>
{
}

/// An event as the other implementation reads it.
#[derive(Debug)]
struct OracleEvent<'a, I> {
    id: I,
    pdu: &'a Pdu,
    kind: TimelineEventType,
    content: &'a RawValue,
    prev_events: Vec<I>,
    auth_events: Vec<I>,
}

impl<'a, I: Id<'a>> OracleEvent<'a, I> {
    fn new(event: &'a StateEvent) -> Self {
        let pdu: &Pdu = &event.pdu;
        let ids = |ids: &'a [ruma_common::OwnedEventId]| ids.iter().map(|id| I::from(id)).collect();
        Self {
            id: pdu.event_id().into(),
            kind: pdu.kind().into(),
            content: serde_json::from_slice(pdu.content()).expect("content of ours"),
            prev_events: ids(pdu.prev_events()),
            auth_events: ids(pdu.auth_events()),
            pdu,
        }
    }
}

impl<'a, I: Id<'a>> Event for OracleEvent<'a, I> {
    type Id = I;

    fn event_id(&self) -> &I {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        Some(self.pdu.room_id())
    }

    fn sender(&self) -> &UserId {
        self.pdu.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        let time = self.pdu.origin_server_ts().try_into();
        MilliSecondsSinceUnixEpoch(time.expect("a time of ours"))
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.pdu.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &I> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &I> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&I> {
        None
    }

    fn rejected(&self) -> bool {
        false
    }
}

/// What the other implementation takes, but for the events. The state maps are only borrowed.
#[derive(Debug)]
pub struct Sets<I: Borrow<EventId>> {
    auth_chains: Vec<EventIdSet<I>>,
    conflicted_subgraph: RefCell<Option<EventIdSet<I>>>,
}

/// A room for the other implementation.
#[derive(Debug)]
pub struct Oracle<'a, I> {
    room: &'a Room,
    rules: RoomVersionRules,
    events: FxHashMap<&'a EventId, OracleEvent<'a, I>>,
    numbers: FxHashMap<&'a EventId, EventNum>,
}

impl<'a, I: Id<'a>> Oracle<'a, I> {
    /// Puts all events of the room at hand.
    #[must_use]
    pub fn new(room: &'a Room) -> Self {
        let ids = room.events().iter().map(|event| event.pdu.event_id());
        Self {
            room,
            rules: rules(room.version()),
            events: ids
                .clone()
                .zip(room.events().iter().map(OracleEvent::new))
                .collect(),
            numbers: ids.zip((0..).map(EventNum)).collect(),
        }
    }

    /// A state of these events.
    pub fn state(&self, events: impl IntoIterator<Item = EventNum>) -> StateMap<I> {
        let events = events
            .into_iter()
            .filter_map(|event| self.room.events().get(place(event)));
        events
            .map(|event| {
                let state_key = event.pdu.state_key().unwrap_or_default();
                let key = (event.pdu.kind().into(), state_key.to_owned());
                (key, event.pdu.event_id().into())
            })
            .collect()
    }

    /// Copies of these sets, to be used up by one resolution.
    #[must_use]
    pub fn sets(&self, auth_chains: &[EventSet], conflicted_subgraph: &EventSet) -> Sets<I> {
        Sets {
            auth_chains: auth_chains.iter().map(|chain| self.ids(chain)).collect(),
            conflicted_subgraph: RefCell::new(Some(self.ids(conflicted_subgraph))),
        }
    }

    fn ids(&self, set: &EventSet) -> EventIdSet<I> {
        let members = members(self.room, set);
        members.map(|event| event.pdu.event_id().into()).collect()
    }

    /// Resolves states.
    ///
    /// # Panics
    /// When the other implementation fails.
    #[must_use]
    pub fn resolve(&self, states: &[StateMap<I>], sets: Sets<I>) -> StateMap<I> {
        let Sets {
            auth_chains,
            conflicted_subgraph,
        } = sets;
        let rules = self.rules.state_res.v2_rules().expect("a version after 1");
        ruma_state_res::resolve(
            &self.rules.authorization,
            rules,
            states,
            auth_chains,
            |id| self.events.get(id),
            |_| conflicted_subgraph.take(),
        )
        .expect("the other implementation resolves it")
    }

    /// A state of the other implementation in our numbers.
    #[must_use]
    pub fn numbered(&self, state: &StateMap<I>) -> FxHashMap<StateKey, EventNum> {
        let entries = state.iter().map(|((kind, state_key), id)| {
            let key = self.room.key(&kind.to_string(), state_key);
            let event = self.numbers.get(id.borrow());
            (
                key.expect("a key of ours"),
                *event.expect("an event of ours"),
            )
        });
        entries.collect()
    }
}

fn rules(version: RoomVersion) -> RoomVersionRules {
    use ruma_common::RoomVersionId;

    RoomVersionId::try_from(version.as_str())
        .ok()
        .and_then(|id| id.rules())
        .expect("a version that both know")
}
