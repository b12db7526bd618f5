//! The full conflicted set: the conflicted state set, the auth difference and, from room version 12 on, the conflicted
//! state subgraph. <https://spec.matrix.org/v1.19/rooms/v12/#definitions>

use super::auth_graph::AuthGraph;
use super::conflicted_subgraph::conflicted_state_subgraph;
use super::v2::Revision;

/// For each node of the graph, whether it is in the set.
pub(super) fn full_conflicted_set(graph: &AuthGraph<'_>, revision: Revision) -> Vec<bool> {
    let mut set: Vec<bool> = match revision {
        Revision::V2 => vec![false; graph.nodes.len()],
        Revision::V2_1 => conflicted_state_subgraph(graph),
    };
    for (is_in, node) in set.iter_mut().zip(&graph.nodes) {
        *is_in |= node.is_conflicted || graph.is_in_auth_difference(node);
    }
    set
}
