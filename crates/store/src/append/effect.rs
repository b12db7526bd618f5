//! What an event does to a room's state: on its own branch, and where branches meet.

use starling_db::{Error, Tx};
use starling_events::Pdu;

use super::{Fork, Numbers, tag_of};
use crate::events::Visibility;
use crate::names::{EMPTY_KEY, types};
use crate::numbers::EventNum;
use crate::rooms::{RoomSnapshot, visibility_of};
use crate::snapshots::{Stored, snapshot_insert, snapshot_store};
use crate::state_map::{Change, Entry, StateMap, UNNUMBERED};
use crate::store::Store;

/// The state around an event that is being appended, and the room's with it.
pub(super) struct Effect {
    /// The event that it replaces in the state before it.
    pub(super) replaces: Option<EventNum>,
    /// Where the state after the event is stored.
    pub(super) stored_event: Option<Stored>,
    /// The room's state with it.
    pub(super) state: StateMap,
    /// Where that is stored.
    pub(super) stored: Option<Stored>,
    /// What it changed of the room's state.
    pub(super) changes: Vec<Change>,
}

/// The entry of a state event.
fn entry_of(numbers: &Numbers, pdu: &Pdu, num: EventNum) -> Option<Entry> {
    Some(Entry {
        kind: numbers.kind,
        key: numbers.key?,
        event: num,
        tag: tag_of(numbers.kind, pdu),
    })
}

/// What `pdu` does to the room that `before` shows, which is all that it follows.
pub(super) fn of_next(
    tx: &mut Tx<'_>,
    before: &RoomSnapshot,
    (numbers, pdu, num): (&Numbers, &Pdu, EventNum),
) -> Result<Effect, Error> {
    let Some(entry) = entry_of(numbers, pdu, num) else {
        return Ok(Effect {
            replaces: None,
            stored_event: before.stored,
            state: before.state.clone(),
            stored: before.stored,
            changes: Vec::new(),
        });
    };
    let old = before.state.get(entry.kind, entry.key).copied();
    let state = before.state.with(entry);
    let stored = snapshot_insert(tx, before.room, before.stored, &entry, &state)?;
    Ok(Effect {
        replaces: old.map(|old| old.event),
        stored_event: Some(stored),
        state,
        stored: Some(stored),
        changes: vec![Change {
            kind: entry.kind,
            key: entry.key,
            old,
            new: Some(entry),
        }],
    })
}

/// What `pdu` does to the room that `before` shows, from where `fork` says that it stands.
pub(super) fn of_fork(
    tx: &mut Tx<'_>,
    (before, fork): (&RoomSnapshot, &Fork),
    (numbers, pdu, num): (&Numbers, &Pdu, EventNum),
) -> Result<Effect, Error> {
    let on_branch = branch_state(tx, before, fork, (numbers, pdu, num), true)?;
    let (state, stored) = match &fork.current {
        None => (on_branch.state, on_branch.stored),
        Some(current) => {
            let state = match entry_of(numbers, pdu, num) {
                Some(entry) if is_unnumbered(current, &entry) => current.with(entry),
                _ => current.clone(),
            };
            let base = before.stored.map(|stored| (&before.state, stored));
            let stored = snapshot_store(tx, before.room, base, &state)?;
            (state, stored)
        }
    };
    Ok(Effect {
        replaces: on_branch.replaces,
        stored_event: Some(on_branch.stored),
        changes: before.state.changes_to(&state),
        state,
        stored: Some(stored),
    })
}

fn is_unnumbered(state: &StateMap, entry: &Entry) -> bool {
    let holder = state.get(entry.kind, entry.key);
    holder.is_some_and(|holder| holder.event == UNNUMBERED)
}

/// The state after an event on its own branch.
pub(crate) struct BranchState {
    pub(crate) replaces: Option<EventNum>,
    pub(crate) state: StateMap,
    pub(crate) stored: Stored,
}

/// Stores the state after an event that stands where `fork` says: with it, if it counts.
pub(crate) fn branch_state(
    tx: &mut Tx<'_>,
    room: &RoomSnapshot,
    fork: &Fork,
    (numbers, pdu, num): (&Numbers, &Pdu, EventNum),
    counts: bool,
) -> Result<BranchState, Error> {
    let base = fork.base.as_ref().map(|(state, stored)| (state, *stored));
    let stored = snapshot_store(tx, room.room, base, &fork.before)?;
    let Some(entry) = entry_of(numbers, pdu, num).filter(|_| counts) else {
        return Ok(BranchState {
            replaces: None,
            state: fork.before.clone(),
            stored,
        });
    };
    let state = fork.before.with(entry);
    let stored = snapshot_insert(tx, room.room, Some(stored), &entry, &state)?;
    let replaced = fork.before.get(entry.kind, entry.key);
    Ok(BranchState {
        replaces: replaced.map(|old| old.event),
        state,
        stored,
    })
}

impl Store {
    /// The history visibility of a state; what `room` shows where it is the same event's.
    pub(crate) fn visibility_in(
        &self,
        tx: &mut Tx<'_>,
        state: &StateMap,
        room: &RoomSnapshot,
    ) -> Result<Visibility, Error> {
        let at = |state: &StateMap| {
            let entry = state.get(types::HISTORY_VISIBILITY, EMPTY_KEY);
            entry.map(|entry| entry.event)
        };
        let event = at(state);
        if event == at(&room.state) {
            return Ok(room.visibility);
        }
        let event = event.map_or(Ok(None), |event| self.event_read(tx, event))?;
        Ok(event.map_or(Visibility::Shared, |event| visibility_of(&event.pdu)))
    }
}
