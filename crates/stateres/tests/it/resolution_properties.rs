//! What holds of every resolution: the order of things and their numbers don't matter, what is missing is named, and
//! nothing gets in that wasn't allowed.

use std::collections::BTreeSet;

use starling_events::RoomVersion;
use starling_stateres::resolution::{
    Conflicts, EventNum, MAX_STATES, ResolveError, RoomEvents, StateEvent, StateKey, resolve,
};
use starling_testkit::forks::{Dice, ForkedRoom, Resolving, State, apply};

use super::model::{Id, Model, Seen, StateMap, Step, named};
use super::resolution::{ours, random_rooms};

/// In percent of the rooms that are compared with the model.
const SHARE: u64 = 6;

fn each_room(test: impl Fn(&ForkedRoom, &mut Dice)) {
    for version in RoomVersion::ALL {
        for (seed, forked) in random_rooms(version, SHARE) {
            test(&forked, &mut Dice::new(seed));
        }
    }
}

#[test]
fn order_of_states_and_entries() {
    each_room(|forked, dice| {
        let expected = ForkedRoom::resolved(&forked.room, &forked.states);
        let mut states = forked.states.clone();
        dice.shuffle(&mut states);
        let again = states.first().cloned();
        states.extend(again);
        assert_eq!(ForkedRoom::resolved(&forked.room, &states), expected);

        let (conflicts, resolving) = forked.room.conflicts(&states);
        let mut entries: Vec<(StateKey, usize, EventNum)> = Vec::new();
        for (index, state) in states.iter().enumerate() {
            entries.extend(state.iter().map(|(key, num)| (*key, index, *num)));
        }
        dice.shuffle(&mut entries);
        let shuffled = Conflicts::new(states.len(), entries).unwrap();
        assert_eq!(shuffled, conflicts);
        let resolution = resolve(forked.room.version(), &shuffled, &resolving).unwrap();
        assert_eq!(apply(&states, &resolution), expected);
    });
}

#[test]
fn numbers_mean_nothing() {
    each_room(|forked, dice| {
        let (room, states) = forked.room.renumbered(&forked.states, dice);
        let renumbered = ForkedRoom { room, states };
        assert_eq!(ours(&renumbered), ours(forked));
    });
}

#[test]
fn same_states_resolve_to_themselves() {
    each_room(|forked, _| {
        for state in &forked.states {
            let states = [state.clone(), state.clone()];
            assert_eq!(ForkedRoom::resolved(&forked.room, &states), *state);
            assert_eq!(ForkedRoom::resolved(&forked.room, &states[..1]), *state);
        }
    });
}

/// A room of which some events are not at hand.
struct Partial<'a> {
    room: Resolving<'a>,
    missing: BTreeSet<EventNum>,
}

impl RoomEvents for Partial<'_> {
    fn event(&self, event: EventNum) -> Option<&StateEvent> {
        self.room
            .event(event)
            .filter(|_| !self.missing.contains(&event))
    }

    fn cited_by(&self, event: EventNum) -> &[EventNum] {
        self.room.cited_by(event)
    }

    fn unconflicted(&self, key: StateKey) -> Option<EventNum> {
        self.room.unconflicted(key)
    }

    fn key(&self, kind: &str, state_key: &str) -> Option<StateKey> {
        self.room.key(kind, state_key)
    }

    fn create(&self) -> EventNum {
        self.room.create()
    }
}

#[test]
fn missing_events_are_named() {
    each_room(|forked, dice| {
        let expected = ForkedRoom::resolved(&forked.room, &forked.states);
        let (conflicts, resolving) = forked.room.conflicts(&forked.states);
        let share = dice.of([10, 50, 100]);
        let events = forked.room.events().map(|event| event.num);
        let mut partial = Partial {
            room: resolving,
            missing: events.filter(|_| dice.percent(share)).collect(),
        };
        let resolution = loop {
            match resolve(forked.room.version(), &conflicts, &partial) {
                Ok(resolution) => break resolution,
                Err(ResolveError::Missing(named)) => {
                    let named: BTreeSet<EventNum> = named.into_iter().collect();
                    assert!(!named.is_empty() && named.is_subset(&partial.missing));
                    partial.missing.retain(|num| !named.contains(num));
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(apply(&forked.states, &resolution), expected);
    });
}

#[test]
fn only_what_was_allowed_gets_in() {
    each_room(|forked, _| {
        let states = named(&forked.room, &forked.states);
        let mut model = Model::new(&forked.room, &[]).keeping_steps();
        model.resolve(&states);
        let is_allowed = |step: &&Step<'_>| {
            let is_first = forked.room.version() == RoomVersion::V1;
            let state = Seen {
                model: &model,
                state: &step.state,
                auth_events_of: (!is_first).then_some(step.event),
            };
            step.is_allowed && state.allows(step.event)
        };
        let steps = model.steps.iter().filter(is_allowed);
        let allowed: BTreeSet<Id<'_>> = steps.map(|step| step.event).collect();
        let agreed = |key| {
            let first = states[0].get(&key);
            first.filter(|_| states.iter().all(|state| state.get(&key) == first))
        };
        let is_first_of_version_1 = |id: &str| {
            // The first event of a list is taken unchecked, and so is the only one at its key.
            forked.room.version() == RoomVersion::V1
                && states
                    .iter()
                    .any(|state| state.values().any(|of| *of == id))
        };
        for (key, id) in ours(forked) {
            match agreed(key) {
                Some(unconflicted) => assert_eq!(id, *unconflicted),
                None => assert!(allowed.contains(id) || is_first_of_version_1(id), "{id}"),
            }
        }
        assert!(
            states
                .iter()
                .flat_map(StateMap::keys)
                .all(|key| { agreed(*key).is_none() || ours(forked).contains_key(key) })
        );
    });
}

#[test]
fn number_of_states() {
    let forked = ForkedRoom::random(RoomVersion::V11, 0);
    let states: Vec<State> = forked
        .states
        .iter()
        .cycle()
        .take(MAX_STATES)
        .cloned()
        .collect();
    assert_eq!(
        ForkedRoom::resolved(&forked.room, &states),
        ForkedRoom::resolved(&forked.room, &forked.states)
    );
    let too_many = Conflicts::new(MAX_STATES + 1, []);
    assert_eq!(too_many, Err(ResolveError::TooManyStates));
    assert_eq!(Conflicts::new(0, []).unwrap().keys(), []);
}
