//! The part of the room's auth graph that a conflict is about: the conflicted events and their auth chains, as far down
//! as they matter.
//!
//! The walk goes from newer to older: an event is looked at when everything that cites it has been, so it is known then
//! which states' auth chains it is in. It ends where all states agree and nothing older conflicts. An event that only
//! some conflicted events lead to may still be in the auth chain of what all states agree on; instead of walking those
//! chains (they are as large as the room), the walk asks upwards, who cites the event.

use std::collections::BinaryHeap;
use std::ops::Range;

use rustc_hash::FxHashMap;

use super::{Conflicts, EventNum, ResolveError, RoomEvents, StateEvent};

/// An event's place in [`AuthGraph::nodes`].
pub(super) type NodeIndex = usize;

/// Events and their auth events.
pub(super) struct AuthGraph<'r> {
    pub(super) nodes: Vec<Node<'r>>,
    /// All nodes, each before those that it cites.
    pub(super) newest_first: Vec<NodeIndex>,
    edges: Vec<NodeIndex>,
    all_states: u64,
}

/// An event of the graph.
pub(super) struct Node<'r> {
    pub(super) event: &'r StateEvent,
    /// Whether it is in the conflicted state set.
    pub(super) is_conflicted: bool,
    /// The states that it is in.
    held_by: u64,
    /// The states whose auth chains it is in.
    reached_by: u64,
    edges: Range<usize>,
}

impl<'r> AuthGraph<'r> {
    /// Walks the graph of a conflict.
    pub(super) fn walk(
        conflicts: &Conflicts,
        room: &'r impl RoomEvents,
    ) -> Result<Self, ResolveError> {
        let mut walk = Walk::new(conflicts, room);
        for conflict in conflicts.keys() {
            for &(event, held_by) in &conflict.events {
                if let Some(index) = walk.enter(event)
                    && let Some(node) = walk.nodes.get_mut(index)
                {
                    node.is_conflicted = true;
                    node.held_by |= held_by;
                }
            }
        }
        walk.oldest_conflict = walk
            .nodes
            .iter()
            .map(|node| node.event.generation)
            .min()
            .unwrap_or(0);
        while let Some((_, index)) = walk.waiting.pop() {
            walk.visit(index);
        }
        walk.finish()
    }

    /// The auth events of a node that are in the graph.
    pub(super) fn auth_events(&self, node: &Node<'r>) -> &[NodeIndex] {
        self.edges.get(node.edges.clone()).unwrap_or_default()
    }

    /// Whether an event is in the auth chains of some states and not of others.
    pub(super) fn is_in_auth_difference(&self, node: &Node<'r>) -> bool {
        node.reached_by != 0 && node.reached_by != self.all_states
    }
}

struct Walk<'r, 'c, R> {
    room: &'r R,
    conflicts: &'c Conflicts,
    nodes: Vec<Node<'r>>,
    edges: Vec<NodeIndex>,
    indexes: FxHashMap<EventNum, NodeIndex>,
    /// Nodes that were entered and not visited, newest first.
    waiting: BinaryHeap<(u32, NodeIndex)>,
    visited: Vec<NodeIndex>,
    oldest_conflict: u32,
    missing: Vec<EventNum>,
    /// Of events that were asked for: whether they are in the auth chain of an event that all states agree on.
    below_common: FxHashMap<EventNum, bool>,
}

impl<'r, 'c, R: RoomEvents> Walk<'r, 'c, R> {
    fn new(conflicts: &'c Conflicts, room: &'r R) -> Self {
        let expected = 2 * conflicts.keys().len();
        Self {
            room,
            conflicts,
            nodes: Vec::with_capacity(expected),
            edges: Vec::with_capacity(4 * expected),
            indexes: FxHashMap::with_capacity_and_hasher(expected, rustc_hash::FxBuildHasher),
            waiting: BinaryHeap::with_capacity(expected),
            visited: Vec::with_capacity(expected),
            oldest_conflict: 0,
            missing: Vec::new(),
            below_common: FxHashMap::default(),
        }
    }

    /// The node of an event, made if there is none. `None`: the event is missing, which is noted.
    fn enter(&mut self, num: EventNum) -> Option<NodeIndex> {
        if let Some(&index) = self.indexes.get(&num) {
            return Some(index);
        }
        let Some(event) = self.room.event(num) else {
            self.missing.push(num);
            return None;
        };
        let index = self.nodes.len();
        self.nodes.push(Node {
            event,
            is_conflicted: false,
            held_by: 0,
            reached_by: 0,
            edges: 0..0,
        });
        self.indexes.insert(num, index);
        self.waiting.push((event.generation, index));
        Some(index)
    }

    /// Looks at an event after all that cite it.
    fn visit(&mut self, index: NodeIndex) {
        self.visited.push(index);
        let all = self.conflicts.all_states();
        let Some(node) = self.nodes.get(index) else {
            return;
        };
        let (event, is_conflicted) = (node.event, node.is_conflicted);
        let mut held_by = node.held_by;
        let mut reached_by = node.reached_by;
        if !is_conflicted && self.is_unconflicted(event) {
            held_by = all;
        }
        if reached_by != 0 && reached_by != all && self.is_below_common(event.num) {
            reached_by = all;
        }
        // What an event cites is in the auth chains of all states that have it, directly or in their own chains.
        let passed_on = held_by | reached_by;
        let start = self.edges.len();
        if passed_on != all || is_conflicted || event.generation > self.oldest_conflict {
            for &auth_event in &event.auth_events {
                self.cite(auth_event, event.generation, passed_on);
            }
        }
        let edges = start..self.edges.len();
        if let Some(node) = self.nodes.get_mut(index) {
            node.held_by = held_by;
            node.reached_by = reached_by;
            node.edges = edges;
        }
    }

    fn cite(&mut self, auth_event: EventNum, generation: u32, passed_on: u64) {
        let Some(index) = self.enter(auth_event) else {
            return;
        };
        // A generation that isn't less would break the order of the walk. Whoever numbered the events erred.
        if let Some(node) = self.nodes.get_mut(index)
            && node.event.generation < generation
        {
            node.reached_by |= passed_on;
            self.edges.push(index);
        }
    }

    /// Whether every state has this event.
    fn is_unconflicted(&self, event: &StateEvent) -> bool {
        !self.conflicts.contains(event.key) && self.room.unconflicted(event.key) == Some(event.num)
    }

    /// Whether the event is in the auth chain of an event that all states agree on, and so in the auth chains of all.
    /// Looks upwards, newest first. What was found out is kept, so over a whole walk each citation is followed once. It
    /// stays true: all events of the graph that are newer than this one have been visited.
    fn is_below_common(&mut self, num: EventNum) -> bool {
        if let Some(&known) = self.below_common.get(&num) {
            return known;
        }
        self.below_common.insert(num, false);
        let mut path: Vec<(EventNum, std::slice::Iter<'r, EventNum>)> =
            vec![(num, self.room.cited_by(num).iter())];
        while let Some((_, citing)) = path.last_mut() {
            let Some(&next) = citing.next() else {
                path.pop();
                continue;
            };
            // That an event isn't in the auth chain of all says nothing of whether all have the event itself.
            let is_below = self.is_known_common(next)
                || match self.below_common.get(&next) {
                    Some(&known) => known,
                    None => self.look_at_citing(next, &mut path),
                };
            if is_below {
                for (event, _) in path {
                    self.below_common.insert(event, true);
                }
                return true;
            }
        }
        false
    }

    /// Whether this citing event is one that every state has, itself or in its auth chain; if not, those that cite it are
    /// to be looked at.
    fn look_at_citing(
        &mut self,
        num: EventNum,
        path: &mut Vec<(EventNum, std::slice::Iter<'r, EventNum>)>,
    ) -> bool {
        let Some(event) = self.room.event(num) else {
            self.missing.push(num);
            return false;
        };
        if self.is_unconflicted(event) {
            return true;
        }
        self.below_common.insert(num, false);
        path.push((num, self.room.cited_by(num).iter()));
        false
    }

    /// Whether the walk has come by the event and found that every state has it, itself or in its auth chain.
    fn is_known_common(&self, num: EventNum) -> bool {
        let node = self
            .indexes
            .get(&num)
            .and_then(|&index| self.nodes.get(index));
        node.is_some_and(|node| node.held_by | node.reached_by == self.conflicts.all_states())
    }

    fn finish(mut self) -> Result<AuthGraph<'r>, ResolveError> {
        if !self.missing.is_empty() {
            self.missing.sort_unstable();
            self.missing.dedup();
            return Err(ResolveError::Missing(self.missing));
        }
        Ok(AuthGraph {
            nodes: self.nodes,
            newest_first: self.visited,
            edges: self.edges,
            all_states: self.conflicts.all_states(),
        })
    }
}
