//! State resolution of room version 2 and, revised, of room version 12.
//! <https://spec.matrix.org/v1.19/rooms/v2/#algorithm>, <https://spec.matrix.org/v1.19/rooms/v12/#algorithm>

use starling_events::RoomVersion;

use super::auth_checks::iterative_auth_checks;
use super::auth_graph::AuthGraph;
use super::full_conflicted_set::full_conflicted_set;
use super::partial_state::{PartialState, Start};
use super::power_cache::PowerCache;
use super::power_events::PowerEvents;
use super::{
    Conflicts, Resolution, ResolveError, RoomEvents, StateEvent, mainline_ordering, power_ordering,
};

/// Which revision of the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revision {
    /// That of room versions 2 to 11.
    V2,
    /// That of room version 12: the first auth checks start from nothing, and what lies between conflicted events is
    /// conflicted too.
    V2_1,
}

pub(super) fn resolve(
    version: RoomVersion,
    conflicts: &Conflicts,
    room: &impl RoomEvents,
    revision: Revision,
) -> Result<Resolution, ResolveError> {
    let mut powers = PowerCache::new(room);
    let graph = AuthGraph::walk(conflicts, room)?;
    let conflicted = full_conflicted_set(&graph, revision);
    // 1.
    let power_events = PowerEvents::select(&graph, &conflicted);
    let sorted = power_ordering::sort(&graph, &conflicted, &power_events, &mut powers)?;
    // 2.
    let start = match revision {
        Revision::V2 => Start::UnconflictedStateMap,
        Revision::V2_1 => Start::EmptyStateMap,
    };
    let mut state = PartialState::new(conflicts, room, start);
    iterative_auth_checks(version, &sorted, &mut state, &mut powers)?;
    // 3.
    let remaining: Vec<&StateEvent> = (graph.nodes.iter().zip(&conflicted))
        .zip(&power_events.is_in_chain)
        .filter(|((_, is_conflicted), is_in_chain)| **is_conflicted && !**is_in_chain)
        .map(|((node, _), _)| node.event)
        .collect();
    let levels = powers.keys.power_levels.and_then(|key| state.get(key));
    let sorted = mainline_ordering::sort(remaining, levels, &powers)?;
    // 4.
    iterative_auth_checks(version, &sorted, &mut state, &mut powers)?;
    // 5.
    Ok(Resolution {
        changes: state.into_changes(),
    })
}
