//! A room's one order for paging: pages of it, and the last events of busy rooms at hand.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use starling_db::{Error, Tx};

use crate::events::Event;
use crate::numbers::{EventNum, RoomNum};
use crate::store::Store;
use crate::tokens::Place;

starling_db::statements! {
    /// The events before a boundary and not before another, newest first.
    TIMELINE_BACKWARDS = "SELECT event_num FROM events
        WHERE room_num = ?1 AND place_major IS NOT NULL
            AND (place_major, place_minor) < (?2, ?3) AND (place_major, place_minor) >= (?4, ?5)
        ORDER BY place_major DESC, place_minor DESC LIMIT ?6";
    /// The events from a boundary on and before another, oldest first.
    TIMELINE_FORWARDS = "SELECT event_num FROM events
        WHERE room_num = ?1 AND place_major IS NOT NULL
            AND (place_major, place_minor) >= (?2, ?3) AND (place_major, place_minor) < (?4, ?5)
        ORDER BY place_major, place_minor LIMIT ?6";
    /// The changes of a room's state in a stretch of the log, oldest first.
    STATE_DELTAS = "SELECT type_num, key_num, new_event, position FROM state_deltas
        WHERE room_num = ?1 AND position > ?2 AND position <= ?3 ORDER BY position";
    /// Notes a change of a room's state.
    STATE_DELTA_INSERT = "INSERT INTO state_deltas (position, room_num, type_num, key_num, old_event, new_event)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
}

/// The boundary before everything.
pub const START: Place = Place {
    major: 0,
    minor: i64::MIN,
};

/// The boundary after all that a reader whose head is `position` may see.
#[must_use]
pub fn end_of(position: i64) -> Place {
    Place {
        major: position + 1,
        minor: i64::MIN,
    }
}

/// Which way a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From newer to older.
    Backwards,
    /// From older to newer.
    Forwards,
}

/// A stretch of a room's order: from one boundary up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Events before this boundary are not in it.
    pub from: Place,
    /// Events at or after this boundary are not in it.
    pub to: Place,
}

impl Store {
    /// Up to `limit` events of a stretch of a room's order, in `direction`, from the end that it starts with.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn timeline_page(
        &self,
        tx: &mut Tx<'_>,
        room: RoomNum,
        stretch: Stretch,
        direction: Direction,
        limit: i64,
    ) -> Result<Vec<Arc<Event>>, Error> {
        let Stretch { from, to } = stretch;
        let (statement, first, second) = match direction {
            Direction::Backwards => (&TIMELINE_BACKWARDS, to, from),
            Direction::Forwards => (&TIMELINE_FORWARDS, from, to),
        };
        let params = [
            room.into(),
            first.major.into(),
            first.minor.into(),
            second.major.into(),
            second.minor.into(),
            limit.into(),
        ];
        let numbers = tx.query_all(statement, &params, |row| Ok(EventNum(row.int(0)?)))?;
        self.events_read(tx, &numbers)
    }
}

/// A change of a room's current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDelta {
    /// The key's type.
    pub kind: crate::numbers::TypeNum,
    /// The key's state key.
    pub key: crate::numbers::KeyNum,
    /// The event that now holds the key; `None` when none does.
    pub event: Option<EventNum>,
    /// The position of the change.
    pub position: i64,
}

/// The changes of a room's state after `since` and up to `upto`, in order.
///
/// # Errors
/// When the database cannot be read.
pub fn state_deltas(
    tx: &mut Tx<'_>,
    room: RoomNum,
    since: i64,
    upto: i64,
) -> Result<Vec<StateDelta>, Error> {
    tx.query_all(
        &STATE_DELTAS,
        &[room.into(), since.into(), upto.into()],
        |row| {
            Ok(StateDelta {
                kind: crate::numbers::TypeNum(row.int(0)?),
                key: crate::numbers::KeyNum(row.int(1)?),
                event: row.opt_int(2)?.map(EventNum),
                position: row.int(3)?,
            })
        },
    )
}

/// Notes a change of a room's state; `old` is the event that held the key before.
///
/// # Errors
/// When the database fails.
pub fn state_delta_insert(
    tx: &mut Tx<'_>,
    room: RoomNum,
    delta: &StateDelta,
    old: Option<EventNum>,
) -> Result<(), Error> {
    let params = [
        delta.position.into(),
        room.into(),
        delta.kind.into(),
        delta.key.into(),
        old.into(),
        delta.event.into(),
    ];
    tx.execute_one(&STATE_DELTA_INSERT, &params)
}

/// How many events of a room are kept at hand.
const RECENT: usize = 64;

/// The last live events of each room.
#[derive(Debug)]
pub struct TimelineCache {
    rooms: Cache<RoomNum, Arc<Mutex<Recent>>>,
}

#[derive(Debug)]
struct Recent {
    /// All live events after this position are here.
    complete_after: i64,
    events: VecDeque<Arc<Event>>,
}

/// The live events of a room in a stretch of the log.
#[derive(Debug)]
pub struct RecentPage {
    /// At most as many as asked for, the newest, oldest first.
    pub events: Vec<Arc<Event>>,
    /// Whether there are older ones in the stretch.
    pub limited: bool,
}

impl TimelineCache {
    pub(crate) fn new(rooms: usize) -> Self {
        Self {
            rooms: Cache::new(rooms),
        }
    }

    /// Adds an event that was just committed; `before` is the position of the room's last event before it.
    pub fn push(&self, event: &Arc<Event>, before: i64) {
        let Some(position) = event.position() else {
            return;
        };
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(Mutex::new(Recent::new(before))));
        let Ok(recent) = self.rooms.get_or_insert_with(&event.room, fresh);
        let mut recent = recent.lock();
        // Events of a room come in order; anything else would be a hole.
        if recent
            .events
            .back()
            .and_then(|last| last.position())
            .unwrap_or(recent.complete_after)
            != before
        {
            *recent = Recent::new(before);
        }
        if recent.events.len() >= RECENT
            && let Some(dropped) = recent.events.pop_front()
        {
            recent.complete_after = dropped.position().unwrap_or(position);
        }
        recent.events.push_back(Arc::clone(event));
    }

    /// Puts the pruned form of a redacted event in its place.
    pub fn replace(&self, pruned: &Arc<Event>) {
        let Some(recent) = self.rooms.get(&pruned.room) else {
            return;
        };
        let mut recent = recent.lock();
        if let Some(event) = recent
            .events
            .iter_mut()
            .find(|event| event.num == pruned.num)
        {
            *event = Arc::clone(pruned);
        }
    }

    /// The room's live events after `since` and up to `upto`, if they are all at hand.
    #[must_use]
    pub fn page(&self, room: RoomNum, since: i64, upto: i64, limit: usize) -> Option<RecentPage> {
        let recent = self.rooms.get(&room)?;
        let recent = recent.lock();
        if since < recent.complete_after {
            return None;
        }
        let within =
            |event: &&Arc<Event>| event.position().is_some_and(|at| at > since && at <= upto);
        let mut events: Vec<Arc<Event>> = recent.events.iter().filter(within).cloned().collect();
        let surplus = events.len().saturating_sub(limit);
        events.drain(..surplus);
        Some(RecentPage {
            events,
            limited: surplus > 0,
        })
    }
}

impl Recent {
    fn new(complete_after: i64) -> Self {
        Self {
            complete_after,
            events: VecDeque::new(),
        }
    }
}
