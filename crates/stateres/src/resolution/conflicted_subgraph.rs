//! The conflicted state subgraph: what is on a path of auth events from one conflicted event to another.
//! <https://spec.matrix.org/v1.19/rooms/v12/#definitions>

use super::auth_graph::AuthGraph;

/// For each node, whether it is on such a path. Every node of the graph is a conflicted event or in the auth chain of
/// one, so it is on a path if its own auth chain comes by a conflicted event.
pub(super) fn conflicted_state_subgraph(graph: &AuthGraph<'_>) -> Vec<bool> {
    let mut leads_to_conflict = vec![false; graph.nodes.len()];
    for &index in graph.newest_first.iter().rev() {
        let Some(node) = graph.nodes.get(index) else {
            continue;
        };
        let is_on_path = node.is_conflicted
            || graph
                .auth_events(node)
                .iter()
                .any(|&auth_event| leads_to_conflict.get(auth_event) == Some(&true));
        if let Some(place) = leads_to_conflict.get_mut(index) {
            *place = is_on_path;
        }
    }
    leads_to_conflict
}
