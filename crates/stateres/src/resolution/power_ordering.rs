//! Reverse topological power ordering. <https://spec.matrix.org/v1.19/rooms/v2/#definitions>

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::auth_graph::{AuthGraph, NodeIndex};
use super::power_cache::PowerCache;
use super::power_events::PowerEvents;
use super::{ResolveError, RoomEvents, StateEvent};
use crate::power_levels::PowerLevel;

/// An event among those that may come next; less is earlier.
struct Candidate<'r> {
    /// `None` for an event that isn't sorted itself and only stands between others: it comes at once.
    sender_level: Option<PowerLevel>,
    event: &'r StateEvent,
    index: NodeIndex,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.sender_level, other.sender_level) {
            (None, None) => self.index.cmp(&other.index),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(own), Some(others)) => others
                .cmp(&own)
                .then_with(|| by_time_and_id(self.event, other.event)),
        }
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}

/// Orders events by their time, then by their id.
pub(super) fn by_time_and_id(x: &StateEvent, y: &StateEvent) -> Ordering {
    (x.pdu.origin_server_ts(), x.pdu.event_id()).cmp(&(y.pdu.origin_server_ts(), y.pdu.event_id()))
}

/// Sorts the members of the full conflicted set that are power events or in the chains of power events, with Kahn's
/// algorithm from the oldest on.
pub(super) fn sort<'r>(
    graph: &AuthGraph<'r>,
    full_conflicted_set: &[bool],
    power_events: &PowerEvents,
    powers: &mut PowerCache<'r, impl RoomEvents>,
) -> Result<Vec<&'r StateEvent>, ResolveError> {
    let mut kahn = Kahn::new(graph, power_events);
    let mut candidates = BinaryHeap::new();
    let mut sorted = Vec::with_capacity(power_events.chain.len());
    let mut ready = kahn.without_auth_events(power_events);
    loop {
        for index in ready.drain(..) {
            let Some(node) = graph.nodes.get(index) else {
                continue;
            };
            let is_sorted = full_conflicted_set.get(index) == Some(&true);
            let sender_level = is_sorted
                .then(|| powers.sender_level(node.event))
                .transpose()?;
            candidates.push(Reverse(Candidate {
                sender_level,
                event: node.event,
                index,
            }));
        }
        let Some(Reverse(next)) = candidates.pop() else {
            return Ok(sorted);
        };
        if next.sender_level.is_some() {
            sorted.push(next.event);
        }
        kahn.take(next.index, &mut ready);
    }
}

/// How many auth events of each event are still to come, and who cites whom.
struct Kahn {
    open: Vec<u32>,
    /// Of each node, where its citing nodes are in `citing`.
    starts: Vec<usize>,
    citing: Vec<NodeIndex>,
}

impl Kahn {
    fn new(graph: &AuthGraph<'_>, power_events: &PowerEvents) -> Self {
        let mut open = vec![0; graph.nodes.len()];
        let mut starts = vec![0; graph.nodes.len() + 1];
        let edges = || {
            power_events.chain.iter().flat_map(|&index| {
                let node = graph.nodes.get(index);
                let cited = node.map_or(&[][..], |node| graph.auth_events(node));
                cited.iter().map(move |&auth_event| (index, auth_event))
            })
        };
        for (index, auth_event) in edges() {
            if let (Some(open), Some(count)) = (open.get_mut(index), starts.get_mut(auth_event)) {
                *open += 1;
                *count += 1;
            }
        }
        // From counts to the place after each node's last, then filled from the back.
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut citing = vec![0; total];
        for (index, auth_event) in edges() {
            if let Some(start) = starts.get_mut(auth_event) {
                *start -= 1;
                if let Some(place) = citing.get_mut(*start) {
                    *place = index;
                }
            }
        }
        Self {
            open,
            starts,
            citing,
        }
    }

    /// The nodes that need not wait for any.
    fn without_auth_events(&self, power_events: &PowerEvents) -> Vec<NodeIndex> {
        let chain = power_events.chain.iter().copied();
        chain
            .filter(|&index| self.open.get(index) == Some(&0))
            .collect()
    }

    /// Takes a node away and adds those that waited for it alone to `ready`.
    fn take(&mut self, index: NodeIndex, ready: &mut Vec<NodeIndex>) {
        let (Some(&start), Some(&end)) = (self.starts.get(index), self.starts.get(index + 1))
        else {
            return;
        };
        for &citing in self.citing.get(start..end).unwrap_or_default() {
            if let Some(open) = self.open.get_mut(citing) {
                *open -= 1;
                if *open == 0 {
                    ready.push(citing);
                }
            }
        }
    }
}
