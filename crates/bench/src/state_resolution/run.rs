//! Resolves one conflict in all ways, checks that the results are the same, and says how long each took.

use std::time::Duration;

use ruma_common::{EventId, OwnedEventId};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use starling_events::room_version::StateResolution;
use starling_stateres::{
    auth_types::auth_types_of,
    resolution::{Conflicts, EventNum, Resolution, StateKey, resolve},
};
use starling_store::{
    KeyNum, TypeNum,
    state_map::{Entry, StateMap},
};

use super::{
    Size, forks,
    full_conflicted_set::{EventSet, auth_chain, conflicted_subgraph, difference, members, set_of},
    history,
    oracle::Oracle,
};
use crate::{
    Disagreement,
    room::{Room, event_at, key_and_event},
    timing::{Repeat, Timing, measure as time},
};

/// A room and the states to be resolved.
#[derive(Debug)]
pub struct Sample {
    size: Size,
    room: Room,
    states: Vec<StateMap>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The room and the conflict.
    pub size: Size,
    /// Keys at which the states differ.
    pub conflicted: usize,
    /// Events in the full conflicted set.
    pub full_conflicted_set: usize,
    /// Ours.
    pub ours: Timing,
    /// Of ours, the structural difference.
    pub ours_difference: Timing,
    /// Not in ours: putting the changes into one of the persistent maps, one by one.
    pub applying: Timing,
    /// The other implementation as documented.
    pub documented: Timing,
    /// The other implementation with the least input.
    pub trimmed: Timing,
}

/// A state: the event at each key.
type State = FxHashMap<StateKey, EventNum>;

impl Sample {
    /// Makes a room of this size. The same for the same seed.
    #[must_use]
    pub fn new(size: Size, seed: u64) -> Self {
        let mut base = history::make(size.version, size.members, seed);
        let states = forks::make(&mut base, size.members, size.forks, size.conflicted);
        Self {
            size,
            room: base.room,
            states,
        }
    }

    /// The room, with the events of all forks.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// At how many keys the states differ.
    #[must_use]
    pub fn conflicted(&self) -> usize {
        self.conflicts().keys().len()
    }

    fn refs(&self) -> Vec<&StateMap> {
        self.states.iter().collect()
    }

    fn conflicts(&self) -> Conflicts {
        StateMap::conflicts(&self.refs()).expect("few states")
    }

    /// Finds where the states differ, and resolves that: ours.
    ///
    /// # Panics
    /// When there are more states than can be resolved at once.
    #[must_use]
    pub fn resolution(&self) -> Resolution {
        self.resolve(&self.conflicts())
    }

    fn resolve(&self, conflicts: &Conflicts) -> Resolution {
        let room = self.room.at_hand(&self.refs());
        resolve(self.size.version, conflicts, &room).expect("all events are at hand")
    }

    /// The first state with the events that the resolution puts at other places.
    fn apply(&self, resolution: &Resolution) -> StateMap {
        let first = self.states.first().expect("a state").clone();
        let changes = resolution.changes.iter();
        let entries = changes.filter_map(|&(key, event)| {
            Some(Entry {
                kind: TypeNum(key.kind),
                key: KeyNum(key.key),
                event: starling_store::EventNum(event?.0),
                tag: 0,
            })
        });
        let differing = entries.filter(|entry| first.get(entry.kind, entry.key) != Some(entry));
        differing.fold(first.clone(), |state, entry| state.with(entry))
    }

    /// The whole resolved state.
    fn resolved(&self, resolution: &Resolution) -> State {
        let first = self.states.first().into_iter();
        let mut state: State = first.flat_map(StateMap::iter).map(key_and_event).collect();
        for &(key, event) in &resolution.changes {
            match event {
                Some(event) => state.insert(key, event),
                None => state.remove(&key),
            };
        }
        state
    }
}

/// What the other implementation needs of a sample, in our numbers.
struct Inputs {
    auth_chains: Vec<EventSet>,
    difference: EventSet,
    subgraph: EventSet,
    full_conflicted_set: EventSet,
    /// The conflicted keys, and, where the unconflicted state is looked at, what the events of the full conflicted set
    /// need of it.
    trimmed_keys: Vec<StateKey>,
}

impl Inputs {
    fn new(sample: &Sample) -> Self {
        let room = &sample.room;
        let keys: FxHashSet<StateKey> = conflicted_keys(&sample.states);
        let at_keys = sample
            .states
            .iter()
            .flat_map(|state| keys.iter().filter_map(|&key| event_at(state, key)));
        let conflicted = set_of(room, at_keys);
        let auth_chains: Vec<EventSet> = sample
            .states
            .iter()
            .map(|state| auth_chain(room, state))
            .collect();
        let difference = difference(&auth_chains);
        let has_subgraph = room.version().rules().state_resolution == StateResolution::V2_1;
        let subgraph = if has_subgraph {
            conflicted_subgraph(room, &conflicted)
        } else {
            vec![false; conflicted.len()]
        };
        let sets = conflicted.iter().zip(&difference).zip(&subgraph);
        let full_conflicted_set = sets.map(|((&a, &b), &c)| a || b || c).collect();
        let mut trimmed_keys = keys;
        if !has_subgraph {
            for event in members(room, &full_conflicted_set) {
                let needed = auth_types_of(&event.pdu);
                trimmed_keys.extend(needed.iter().filter_map(|(kind, key)| room.key(kind, key)));
            }
        }
        Self {
            auth_chains,
            difference,
            subgraph,
            full_conflicted_set,
            trimmed_keys: trimmed_keys.into_iter().collect(),
        }
    }
}

/// Found apart from ours, key by key.
fn conflicted_keys(states: &[StateMap]) -> FxHashSet<StateKey> {
    let all = states.iter().flat_map(StateMap::iter).map(key_and_event);
    let differs = |key: StateKey, event| {
        states
            .iter()
            .any(|state| event_at(state, key) != Some(event))
    };
    all.filter_map(|(key, event)| differs(key, event).then_some(key))
        .collect()
}

/// Checks that all ways give the same state, without measuring.
pub fn agree(sample: &Sample) -> Result<(), Disagreement> {
    let once = Repeat {
        least: 1,
        most: 1,
        budget: Duration::ZERO,
    };
    measure(sample, once).map(drop)
}

/// Resolves in all ways and measures each.
pub fn measure(sample: &Sample, repeat: Repeat) -> Result<Measured, Disagreement> {
    let inputs = Inputs::new(sample);
    let (ours_difference, conflicts) = time(repeat, || (), |()| sample.conflicts());
    let (ours, resolution) = time(repeat, || (), |()| sample.resolution());
    drop(conflicts);
    let (applying, _) = time(repeat, || (), |()| sample.apply(&resolution));
    let expected = sample.resolved(&resolution);

    let (documented, state) = documented(sample, &inputs, repeat);
    compare(sample, "documented", &expected, &state)?;

    let (trimmed, state) = trimmed(sample, &inputs, repeat);
    // Events of the conflict at other keys are for the unconflicted state to outdo, of which it has not all.
    let only = |state: &State| {
        let entry = |key: &StateKey| state.get(key).map(|&event| (*key, event));
        inputs.trimmed_keys.iter().filter_map(entry).collect()
    };
    compare(sample, "trimmed", &only(&expected), &only(&state))?;

    Ok(Measured {
        size: sample.size,
        conflicted: sample.conflicted(),
        full_conflicted_set: members(&sample.room, &inputs.full_conflicted_set).count(),
        ours,
        ours_difference,
        applying,
        documented,
        trimmed,
    })
}

/// Full states and full auth chains.
fn documented(sample: &Sample, inputs: &Inputs, repeat: Repeat) -> (Timing, State) {
    let oracle = Oracle::<OwnedEventId>::new(&sample.room);
    let states: Vec<_> = sample
        .states
        .iter()
        .map(|state| oracle.state(state.iter().map(|entry| key_and_event(entry).1)))
        .collect();
    let (timing, state) = time(
        repeat,
        || oracle.sets(&inputs.auth_chains, &inputs.subgraph),
        |sets| oracle.resolve(&states, sets),
    );
    (timing, oracle.numbered(&state))
}

/// Only the conflict, as its difference.
fn trimmed(sample: &Sample, inputs: &Inputs, repeat: Repeat) -> (Timing, State) {
    let oracle = Oracle::<&EventId>::new(&sample.room);
    let keys = &inputs.trimmed_keys;
    let states: Vec<_> = sample
        .states
        .iter()
        .map(|state| oracle.state(keys.iter().filter_map(|&key| event_at(state, key))))
        .collect();
    // An event is in the difference if some of the sets lack it: one set of two does.
    let difference = [inputs.difference.clone(), Vec::new()];
    let (timing, state) = time(
        repeat,
        || oracle.sets(&difference, &inputs.subgraph),
        |sets| oracle.resolve(&states, sets),
    );
    (timing, oracle.numbered(&state))
}

fn compare(sample: &Sample, what: &str, ours: &State, other: &State) -> Result<(), Disagreement> {
    let keys: FxHashSet<_> = ours.keys().chain(other.keys()).collect();
    let differing: Vec<_> = keys
        .into_iter()
        .filter(|key| ours.get(key) != other.get(key))
        .collect();
    let Some(&&key) = differing.first() else {
        return Ok(());
    };
    let event = |state: &State| state.get(&key).and_then(|&event| sample.room.event(event));
    let id = |state| event(state).map(|event| event.pdu.event_id());
    Err(Disagreement {
        what: format!("state resolution, {:?}, {what}", sample.size),
        difference: format!(
            "{} keys of {} differ, for example: ours {:?}, other {:?}",
            differing.len(),
            ours.len(),
            id(ours),
            id(other)
        ),
    })
}
