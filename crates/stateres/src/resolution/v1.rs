//! State resolution of room version 1. <https://spec.matrix.org/v1.19/rooms/v1/#state-resolution>

use sha1::{Digest, Sha1};
use starling_events::RoomVersion;

use super::auth_checks::{Fallback, is_allowed};
use super::partial_state::{PartialState, Start};
use super::power_cache::PowerCache;
use super::{
    Conflict, Conflicts, EventNum, Resolution, ResolveError, RoomEvents, StateEvent, StateKey,
};

/// The types whose conflicts are resolved one after the other, before all others.
const DECIDING: [&str; 3] = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];

/// The conflicting events of one key, by ascending depth, then descending hash of the id.
struct List<'r> {
    key: StateKey,
    events: Vec<&'r StateEvent>,
}

pub(super) fn resolve(
    version: RoomVersion,
    conflicts: &Conflicts,
    room: &impl RoomEvents,
) -> Result<Resolution, ResolveError> {
    let mut powers = PowerCache::new(room);
    let mut state = PartialState::new(conflicts, room, Start::UnconflictedStateMap);
    let mut lists = Vec::new();
    for conflict in conflicts.keys() {
        match conflict.events.as_slice() {
            // Where some states have nothing, those that have something are no conflict here.
            [(only, _)] => state.insert(conflict.key, *only),
            _ => lists.push(List::new(conflict, &powers)?),
        }
    }
    for kind in DECIDING {
        let (of_kind, others) = lists.into_iter().partition(|list| list.is_of(kind));
        lists = others;
        // The text names no order of the keys. Each is resolved in the state before any of its type is, so that the
        // order doesn't matter.
        let of_kind: Vec<List<'_>> = of_kind;
        let mut resolved = Vec::with_capacity(of_kind.len());
        for list in &of_kind {
            resolved.push(last_allowed(version, list, &mut state, &mut powers)?);
        }
        for (list, event) in of_kind.iter().zip(resolved) {
            if let Some(event) = event {
                state.insert(list.key, event);
            }
        }
    }
    let mut resolved = Vec::with_capacity(lists.len());
    for list in &lists {
        for event in list.events.iter().rev() {
            if is_allowed(version, event, (&state, Fallback::Nothing), &mut powers)? {
                resolved.push((list.key, event.num));
                break;
            }
        }
    }
    for (key, event) in resolved {
        state.insert(key, event);
    }
    Ok(Resolution {
        changes: state.into_changes(),
    })
}

impl<'r> List<'r> {
    fn new(
        conflict: &Conflict,
        powers: &PowerCache<'r, impl RoomEvents>,
    ) -> Result<Self, ResolveError> {
        let mut events = Vec::with_capacity(conflict.events.len());
        for (num, _) in &conflict.events {
            events.push(powers.event(*num)?);
        }
        events.sort_by_cached_key(|event| {
            let hash: [u8; 20] = Sha1::digest(event.pdu.event_id().as_bytes()).into();
            (event.pdu.depth(), std::cmp::Reverse(hash))
        });
        Ok(Self {
            key: conflict.key,
            events,
        })
    }

    fn is_of(&self, kind: &str) -> bool {
        self.events
            .first()
            .is_some_and(|event| event.pdu.kind() == kind)
    }
}

/// The last of a list, up to the first that the state with the one before it doesn't allow. The state is as before
/// afterwards.
fn last_allowed<'r, R: RoomEvents>(
    version: RoomVersion,
    list: &List<'r>,
    state: &mut PartialState<'r, R>,
    powers: &mut PowerCache<'r, R>,
) -> Result<Option<EventNum>, ResolveError> {
    let mut kept = None;
    for event in &list.events {
        if kept.is_some() && !is_allowed(version, event, (state, Fallback::Nothing), powers)? {
            break;
        }
        kept = Some(event.num);
        state.insert(list.key, event.num);
    }
    state.remove(list.key);
    Ok(kept)
}
