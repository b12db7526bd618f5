//! The unconflicted state map and the conflicted state set.
//! <https://spec.matrix.org/v1.19/rooms/v2/#definitions>

use super::{EventNum, ResolveError, StateKey};

/// How many states can be resolved at once. An event follows at most 20.
pub const MAX_STATES: usize = 64;

/// Where states differ: the conflicted state set, by key. Every other key is in the unconflicted state map or in no
/// state at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts {
    states: usize,
    /// Sorted by key.
    conflicts: Vec<Conflict>,
}

/// A key at which the states don't all have the same event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: StateKey,
    /// The events at the key, sorted, each with the set of the states that have it there (bit n: the n-th state).
    pub events: Vec<(EventNum, u64)>,
}

impl Conflicts {
    /// Separates what conflicts. `entries` are a key, the number of a state and the event there: those of all keys at
    /// which the states may differ, from every state that has the key. Keys at which they agree are left out.
    pub fn new(
        states: usize,
        entries: impl IntoIterator<Item = (StateKey, usize, EventNum)>,
    ) -> Result<Self, ResolveError> {
        if states > MAX_STATES {
            return Err(ResolveError::TooManyStates);
        }
        let mut entries: Vec<(StateKey, EventNum, u64)> = entries
            .into_iter()
            .filter(|(_, state, _)| *state < states)
            .map(|(key, state, event)| (key, event, 1 << state))
            .collect();
        entries.sort_unstable();
        let mut conflicts = Vec::new();
        for entries in entries.chunk_by(|(key, ..), (other, ..)| key == other) {
            conflicts.extend(conflict(entries, all_of(states)));
        }
        Ok(Self { states, conflicts })
    }

    /// The keys at which the states differ, sorted.
    #[must_use]
    pub fn keys(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Whether the states differ at this key.
    #[must_use]
    pub fn contains(&self, key: StateKey) -> bool {
        self.conflicts
            .binary_search_by_key(&key, |conflict| conflict.key)
            .is_ok()
    }

    /// The set of all states.
    pub(super) fn all_states(&self) -> u64 {
        all_of(self.states)
    }
}

fn all_of(states: usize) -> u64 {
    // At most 64, so the conversion and the shift hold.
    u32::try_from(states).map_or(0, |states| u64::MAX.unbounded_shr(64 - states))
}

/// The conflict at the key of these sorted entries, if they are one.
fn conflict(entries: &[(StateKey, EventNum, u64)], all: u64) -> Option<Conflict> {
    let &(key, ..) = entries.first()?;
    let events: Vec<(EventNum, u64)> = entries
        .chunk_by(|(_, event, _), (_, other, _)| event == other)
        .filter_map(|same| {
            let (_, event, _) = same.first()?;
            Some((
                *event,
                same.iter().fold(0, |held, (.., state)| held | state),
            ))
        })
        .collect();
    let is_common = matches!(events.as_slice(), [(_, held)] if *held == all);
    (!is_common).then_some(Conflict { key, events })
}
