//! Step 1: the power events of the full conflicted set, and what of that set is in their auth chains.
//! <https://spec.matrix.org/v1.19/rooms/v2/#algorithm>

use super::StateEvent;
use super::auth_graph::{AuthGraph, NodeIndex};
use crate::membership::Membership;

/// Whether an event might take somebody's ability to do something in the room.
/// <https://spec.matrix.org/v1.19/rooms/v2/#definitions>
pub(super) fn is_power_event(event: &StateEvent) -> bool {
    match event.pdu.kind() {
        "m.room.power_levels" | "m.room.join_rules" => true,
        "m.room.member" => {
            matches!(event.membership, Some(Membership::Leave | Membership::Ban))
                && event.pdu.state_key() != Some(event.pdu.sender().as_str())
        }
        _ => false,
    }
}

/// The power events and their auth chains.
pub(super) struct PowerEvents {
    /// For each node of the graph, whether it is a power event of the full conflicted set or in the auth chain of one.
    pub(super) is_in_chain: Vec<bool>,
    /// The nodes of which that is true, each before those that it cites.
    pub(super) chain: Vec<NodeIndex>,
}

impl PowerEvents {
    pub(super) fn select(graph: &AuthGraph<'_>, full_conflicted_set: &[bool]) -> Self {
        let mut is_in_chain = vec![false; graph.nodes.len()];
        let mut chain = Vec::new();
        for &index in &graph.newest_first {
            let Some(node) = graph.nodes.get(index) else {
                continue;
            };
            let is_conflicted = full_conflicted_set.get(index) == Some(&true);
            let Some(is_in) = is_in_chain.get_mut(index) else {
                continue;
            };
            *is_in |= is_conflicted && is_power_event(node.event);
            if !*is_in {
                continue;
            }
            chain.push(index);
            for &auth_event in graph.auth_events(node) {
                if let Some(is_in) = is_in_chain.get_mut(auth_event) {
                    *is_in = true;
                }
            }
        }
        Self { is_in_chain, chain }
    }
}
