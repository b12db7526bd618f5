//! The sets of state resolution as the text defines them, over a whole room: input for the other implementation.
//! <https://spec.matrix.org/v1.19/rooms/v12/#definitions>

use starling_stateres::resolution::{EventNum, StateEvent};
use starling_store::state_map::StateMap;

use crate::room::{Room, key_and_event, place};

/// Which events of a room are in a set, by place.
pub type EventSet = Vec<bool>;

/// The events of a set.
pub fn members<'r>(room: &'r Room, set: &EventSet) -> impl Iterator<Item = &'r StateEvent> {
    let events = room.events().iter().zip(set);
    events.filter_map(|(event, &is_in)| is_in.then_some(event))
}

/// A set of these events.
pub fn set_of(room: &Room, events: impl IntoIterator<Item = EventNum>) -> EventSet {
    let mut set = vec![false; room.events().len()];
    events.into_iter().for_each(|event| insert(&mut set, event));
    set
}

/// The auth chain of a state: all events that its events cite, and so on.
#[must_use]
pub fn auth_chain(room: &Room, state: &StateMap) -> EventSet {
    ancestors(
        room,
        &set_of(room, state.iter().map(|entry| key_and_event(entry).1)),
    )
}

/// The events that are in some of the sets and not in all.
#[must_use]
pub fn difference(sets: &[EventSet]) -> EventSet {
    let length = sets.first().map_or(0, Vec::len);
    let has = |set: &EventSet, place: usize| set.get(place).copied().unwrap_or_default();
    (0..length)
        .map(|place| {
            sets.iter().any(|set| has(set, place)) && !sets.iter().all(|set| has(set, place))
        })
        .collect()
}

/// The conflicted state subgraph: what is on a path from one of the conflicted events to another, with these.
#[must_use]
pub fn conflicted_subgraph(room: &Room, conflicted: &EventSet) -> EventSet {
    let ancestors = ancestors(room, conflicted);
    let mut descendants = vec![false; conflicted.len()];
    let mut subgraph = conflicted.clone();
    for (at, event) in room.events().iter().enumerate() {
        let has =
            |set: &EventSet, event: EventNum| set.get(place(event)).copied().unwrap_or_default();
        let number = EventNum(i64::try_from(at).unwrap_or(i64::MAX));
        let cites = |&cited: &EventNum| has(conflicted, cited) || has(&descendants, cited);
        if event.auth_events.iter().any(cites) {
            insert(&mut descendants, number);
            if has(&ancestors, number) {
                insert(&mut subgraph, number);
            }
        }
    }
    subgraph
}

/// What the events of the set cite, and so on.
fn ancestors(room: &Room, set: &EventSet) -> EventSet {
    let mut ancestors = vec![false; set.len()];
    // Events come after those that they cite.
    for (at, event) in room.events().iter().enumerate().rev() {
        let is_in = |set: &EventSet| set.get(at).copied().unwrap_or_default();
        if is_in(set) || is_in(&ancestors) {
            event
                .auth_events
                .iter()
                .for_each(|&cited| insert(&mut ancestors, cited));
        }
    }
    ancestors
}

fn insert(set: &mut EventSet, event: EventNum) {
    if let Some(is_in) = set.get_mut(place(event)) {
        *is_in = true;
    }
}
