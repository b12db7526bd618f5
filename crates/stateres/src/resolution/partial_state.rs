//! The state while it is being resolved: *R* in the text.

use rustc_hash::FxHashMap;

use super::{Conflicts, EventNum, RoomEvents, StateKey};

/// What the state holds at keys that no event was put at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// What all states to be resolved hold.
    UnconflictedStateMap,
    /// Nothing.
    EmptyStateMap,
}

/// A state that starts as something large and has few changes.
pub(super) struct PartialState<'a, R> {
    conflicts: &'a Conflicts,
    room: &'a R,
    start: Start,
    changes: FxHashMap<StateKey, EventNum>,
}

impl<'a, R: RoomEvents> PartialState<'a, R> {
    pub(super) fn new(conflicts: &'a Conflicts, room: &'a R, start: Start) -> Self {
        let keys = conflicts.keys().len();
        Self {
            conflicts,
            room,
            start,
            changes: FxHashMap::with_capacity_and_hasher(keys, rustc_hash::FxBuildHasher),
        }
    }

    /// The event at a key.
    pub(super) fn get(&self, key: StateKey) -> Option<EventNum> {
        if let Some(&event) = self.changes.get(&key) {
            return Some(event);
        }
        match self.start {
            Start::UnconflictedStateMap => self.unconflicted(key),
            Start::EmptyStateMap => None,
        }
    }

    /// The event that all states to be resolved have at a key.
    fn unconflicted(&self, key: StateKey) -> Option<EventNum> {
        if self.conflicts.contains(key) {
            return None;
        }
        self.room.unconflicted(key)
    }

    pub(super) fn insert(&mut self, key: StateKey, event: EventNum) {
        self.changes.insert(key, event);
    }

    /// Takes back what was inserted at a key.
    pub(super) fn remove(&mut self, key: StateKey) {
        self.changes.remove(&key);
    }

    /// What there is at each conflicted key, and at keys that no state had; keys at which all states agree stay as they
    /// are.
    pub(super) fn into_changes(mut self) -> Vec<(StateKey, Option<EventNum>)> {
        let mut changes: Vec<_> = self
            .conflicts
            .keys()
            .iter()
            .map(|conflict| (conflict.key, self.changes.remove(&conflict.key)))
            .collect();
        let others = std::mem::take(&mut self.changes);
        let is_new = |key: &StateKey| self.unconflicted(*key).is_none();
        changes.extend(
            others
                .into_iter()
                .filter(|(key, _)| is_new(key))
                .map(|(key, event)| (key, Some(event))),
        );
        changes.sort_unstable();
        changes
    }
}
