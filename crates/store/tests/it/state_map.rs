//! Where states differ, against a comparison of all their entries.

use std::collections::{BTreeMap, BTreeSet};

use starling_stateres::resolution::{Conflicts, EventNum as Event, StateKey};
use starling_store::state_map::{Entry, StateMap};
use starling_store::{EventNum, KeyNum, TypeNum, names::types};

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        i64::try_from(self.0 >> 33).unwrap() % limit
    }
}

fn entry(numbers: &mut Numbers, keys: i64) -> Entry {
    let is_member = numbers.below(4) > 0;
    Entry {
        kind: if is_member {
            types::MEMBER
        } else {
            TypeNum(100 + numbers.below(3))
        },
        key: KeyNum(numbers.below(keys)),
        event: EventNum(numbers.below(1_000_000)),
        tag: 0,
    }
}

fn changed(from: &StateMap, changes: i64, keys: i64, numbers: &mut Numbers) -> StateMap {
    (0..changes).fold(from.clone(), |map, _| map.with(entry(numbers, keys)))
}

/// All entries, compared one by one.
fn plainly(states: &[&StateMap]) -> Conflicts {
    let mut all: BTreeMap<StateKey, Vec<(usize, Event)>> = BTreeMap::new();
    for (number, state) in states.iter().enumerate() {
        for entry in state.iter() {
            let key = StateKey {
                kind: entry.kind.0,
                key: entry.key.0,
            };
            all.entry(key)
                .or_default()
                .push((number, Event(entry.event.0)));
        }
    }
    all.retain(|_, events| {
        let different: BTreeSet<Event> = events.iter().map(|(_, event)| *event).collect();
        different.len() > 1 || events.len() < states.len()
    });
    let entries = all.into_iter().flat_map(|(key, events)| {
        events
            .into_iter()
            .map(move |(state, event)| (key, state, event))
    });
    Conflicts::new(states.len(), entries).unwrap()
}

#[test]
fn states_differ_where_their_entries_do() {
    let mut numbers = Numbers(7);
    for round in 0..60 {
        let keys = [3, 40, 400][round % 3];
        let base = changed(&StateMap::default(), keys, keys, &mut numbers);
        let forks: Vec<StateMap> = (0..=numbers.below(4))
            .map(|_| {
                let changes = numbers.below(keys);
                changed(&base, changes, 2 * keys, &mut numbers)
            })
            .collect();
        let mut states: Vec<&StateMap> = forks.iter().collect();
        states.push(&base);
        assert_eq!(
            StateMap::conflicts(&states).unwrap(),
            plainly(&states),
            "round {round}"
        );
    }
}

#[test]
fn equal_states_do_not_differ() {
    let base = changed(&StateMap::default(), 500, 500, &mut Numbers(1));
    let same = base.clone();
    assert!(
        StateMap::conflicts(&[&base, &same, &base])
            .unwrap()
            .keys()
            .is_empty()
    );
    assert!(StateMap::conflicts(&[&base]).unwrap().keys().is_empty());
    assert!(StateMap::conflicts(&[]).unwrap().keys().is_empty());
}

#[test]
fn a_key_that_one_state_lacks_differs() {
    let base = changed(&StateMap::default(), 300, 300, &mut Numbers(2));
    let more = base.with(Entry {
        kind: TypeNum(7),
        key: KeyNum(7),
        event: EventNum(7),
        tag: 0,
    });
    let conflicts = StateMap::conflicts(&[&base, &more]).unwrap();
    let [only] = conflicts.keys() else {
        panic!("{conflicts:?}")
    };
    assert_eq!(only.key, StateKey { kind: 7, key: 7 });
    assert_eq!(only.events, [(Event(7), 0b10)]);
}

#[test]
fn the_changes_from_one_state_to_another_lead_from_one_to_the_other() {
    let mut numbers = Numbers(3);
    for round in 0..60 {
        let keys = [3, 40, 400][round % 3];
        let old = changed(&StateMap::default(), keys, keys, &mut numbers);
        let mut new = changed(&old, numbers.below(keys), 2 * keys, &mut numbers);
        let some: Vec<Entry> = old.iter().step_by(3).copied().collect();
        for entry in some {
            new = new.without(entry.kind, entry.key);
        }
        let changes = old.changes_to(&new);
        assert!(changes.iter().all(|change| change.old != change.new));
        let led = changes.iter().fold(old.clone(), |map, change| {
            assert_eq!(map.get(change.kind, change.key).copied(), change.old);
            map.set(change.kind, change.key, change.new)
        });
        let entries = |map: &StateMap| {
            let mut entries: Vec<Entry> = map.iter().copied().collect();
            entries.sort_unstable_by_key(|entry| (entry.kind, entry.key));
            entries
        };
        assert_eq!(entries(&led), entries(&new));
        assert_eq!(led.len(), new.len());
        let made = StateMap::of(entries(&new).into_iter().rev());
        assert_eq!(entries(&made), entries(&new));
        assert!(made.changes_to(&new).is_empty());
    }
}
