//! The last events of a room, in memory, and what a sync gets of them.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many events of a room are in memory.
const RECENT: usize = 100;

/// An event as clients see it, with its position.
pub(super) type Event = (i64, Bytes);

/// A room's last events.
#[derive(Debug, Default)]
pub(super) struct Recent {
    events: VecDeque<Event>,
    /// The position of the last event that isn't among them any more; 0 when all are.
    forgotten: i64,
    /// What the last sync got.
    shared: Option<(Range, Bytes)>,
}

/// Which events a sync gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    /// The position of the event before the first.
    after: i64,
    /// The position of the last.
    last: i64,
    /// Whether there are more between what the sync has seen and the first.
    limited: bool,
}

impl Recent {
    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() == RECENT
            && let Some((position, _)) = self.events.pop_front()
        {
            self.forgotten = position;
        }
        self.events.push_back(event);
    }

    /// The room's entry in the answer of a sync: the events after `since` up to `until`, if there are any. All who have
    /// seen as much of the room get the same bytes.
    pub(super) fn news(&mut self, room_id: &str, since: i64, until: i64) -> Option<Bytes> {
        let seen = self.count_to(since);
        let events = self.count_to(until).checked_sub(seen)?;
        let (last, _) = self.events.range(seen..).take(events).next_back()?;
        let range = Range {
            after: seen
                .checked_sub(1)
                .and_then(|before| self.events.get(before))
                .map_or(self.forgotten, |(position, _)| *position),
            last: *last,
            limited: since < self.forgotten,
        };
        if let Some((shared, json)) = &self.shared
            && *shared == range
        {
            return Some(json.clone());
        }
        let events = self.events.range(seen..).take(events);
        let json = entry(room_id, range, events.map(|(_, event)| event));
        self.shared = Some((range, json.clone()));
        Some(json)
    }

    /// How many of the events are up to this position.
    fn count_to(&self, position: i64) -> usize {
        self.events.partition_point(|(at, _)| *at <= position)
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>, one of `rooms.join`. The room's id is one
/// of ours, which needs no escapes.
fn entry<'a>(room_id: &str, range: Range, events: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut json = format!("\"{room_id}\":{{\"timeline\":{{\"events\":[").into_bytes();
    for (index, event) in events.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(event);
    }
    let Range { after, limited, .. } = range;
    let end = format!("],\"limited\":{limited},\"prev_batch\":\"{after}\"}}}}");
    json.extend_from_slice(end.as_bytes());
    json.into()
}
