//! Events that came together, each after those of them that it names.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use ruma_common::{EventId, OwnedEventId};
use starling_events::Pdu;

/// Where events are in a list, in an order in which each comes after those that `named` gives of it; of those that may come
/// next the create event is first, then the one of the least depth. Events that lead to themselves, which only lies do, are
/// left out.
pub(crate) fn in_order(events: &[Pdu], named: impl Fn(&Pdu) -> &[OwnedEventId]) -> Vec<usize> {
    let index: HashMap<&EventId, usize> = events
        .iter()
        .enumerate()
        .map(|(at, event)| (event.event_id(), at))
        .collect();
    let mut waits_for = vec![0usize; events.len()];
    let mut leads_to: Vec<Vec<usize>> = vec![Vec::new(); events.len()];
    for ((at, event), count) in events.iter().enumerate().zip(&mut waits_for) {
        let before: BTreeSet<usize> = named(event)
            .iter()
            .filter_map(|id| index.get(&**id).copied())
            .collect();
        *count = before.len();
        for before in before {
            if let Some(leads_to) = leads_to.get_mut(before) {
                leads_to.push(at);
            }
        }
    }
    let turn = |at: usize| {
        let event = events.get(at)?;
        let is_later = event.kind() != "m.room.create";
        Some(Reverse((is_later, event.depth(), event.event_id(), at)))
    };
    let free = waits_for.iter().enumerate();
    let free = free.filter(|(_, count)| **count == 0);
    let mut free: BinaryHeap<_> = free.filter_map(|(at, _)| turn(at)).collect();
    let mut order = Vec::with_capacity(events.len());
    while let Some(Reverse((.., at))) = free.pop() {
        order.push(at);
        for next in leads_to.get_mut(at).map(std::mem::take).unwrap_or_default() {
            if let Some(count) = waits_for.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    free.extend(turn(next));
                }
            }
        }
    }
    order
}

/// The events, each after those that it follows.
pub(crate) fn by_prev_events(events: Vec<Pdu>) -> Vec<Pdu> {
    let order = in_order(&events, Pdu::prev_events);
    let mut events: Vec<Option<Pdu>> = events.into_iter().map(Some).collect();
    let next = |at: usize| events.get_mut(at)?.take();
    order.into_iter().filter_map(next).collect()
}
