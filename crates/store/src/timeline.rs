//! A room's one order for paging: pages of it, and the last events of busy rooms at hand.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use starling_db::{Error, Tx, Value};

use crate::events::Event;
use crate::numbers::{EventNum, KeyNum, RoomNum, TypeNum};
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
    /// The last live events of some rooms before position ?2 and after ?3, at most ?4 of each room: from each to the next
    /// older one, since neither engine has another way to stop early in each of many rooms that both have.
    TIMELINES_NEWEST = "WITH RECURSIVE walk (room_num, position, steps) AS (
            SELECT value, CAST(?2 AS BIGINT), CAST(0 AS BIGINT) FROM {ints ?1} AS wanted
            UNION ALL
            SELECT walk.room_num,
                (SELECT events.place_major FROM events
                    WHERE events.room_num = walk.room_num AND events.place_major IS NOT NULL
                        AND events.place_major < walk.position AND events.place_major > ?3
                        AND events.place_minor = 0
                    ORDER BY events.place_major DESC LIMIT 1),
                walk.steps + 1
            FROM walk WHERE walk.steps < ?4 AND walk.position IS NOT NULL
        )
        SELECT events.event_num FROM walk CROSS JOIN events
        WHERE walk.steps > 0 AND walk.position IS NOT NULL AND events.room_num = walk.room_num
            AND events.place_major = walk.position AND events.place_minor = 0";
    /// The position of the last live event of each of some rooms up to another.
    TIMELINES_LAST = "SELECT wanted.value, (SELECT MAX(events.place_major) FROM events
            WHERE events.room_num = wanted.value AND events.place_major <= ?2)
        FROM {ints ?1} AS wanted";
    /// The position of the first live event after another.
    TIMELINE_NEXT = "SELECT MIN(place_major) FROM events WHERE room_num = ?1 AND place_major > ?2";
    /// The changes of rooms' states in a stretch of the log, oldest first.
    STATE_DELTAS = "SELECT deltas.type_num, deltas.key_num, deltas.new_event, deltas.position, deltas.room_num,
            deltas.old_event
        FROM {pairs ?1} AS wanted CROSS JOIN state_deltas AS deltas
        WHERE deltas.room_num = wanted.one AND deltas.position > wanted.other AND deltas.position <= ?2
        ORDER BY deltas.position";
    /// Notes a change of a room's state.
    STATE_DELTA_INSERT = "INSERT INTO state_deltas
            (position, room_num, type_num, key_num, old_event, new_event, left_tag)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
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

impl Direction {
    /// The boundary behind an event, in this direction.
    #[must_use]
    pub fn beyond(self, place: Place) -> Place {
        match self {
            Self::Backwards => place,
            Self::Forwards => Place {
                major: place.major,
                minor: place.minor + 1,
            },
        }
    }
}

/// What was found of a stretch, in one direction.
#[derive(Debug)]
pub struct Page {
    /// In the order of the direction.
    pub events: Vec<Arc<Event>>,
    /// The boundary up to which was looked, if that is not all of the stretch: also where fewer events than were wanted were
    /// found. Where there are as many, it may be missing.
    pub rest: Option<Place>,
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
    /// The position of the last event of each of `rooms` up to `upto`, of those that have one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn timelines_last(
        &self,
        tx: &mut Tx<'_>,
        rooms: &[RoomNum],
        upto: i64,
    ) -> Result<Vec<(RoomNum, i64)>, Error> {
        let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
        let params = [Value::Ints(&rooms), upto.into()];
        let last = tx.query_all(&TIMELINES_LAST, &params, |row| {
            let room = RoomNum(row.int(0)?);
            Ok(row.opt_int(1)?.map(|last| (room, last)))
        })?;
        Ok(last.into_iter().flatten().collect())
    }

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

impl Store {
    /// The last live events of each of `rooms` after `since` and up to `upto`, at most `limit` of each: from memory where
    /// they are at hand, else with two queries for all the others.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn timelines_newest(
        &self,
        tx: &mut Tx<'_>,
        rooms: &[RoomNum],
        (since, upto): (i64, i64),
        limit: usize,
    ) -> Result<HashMap<RoomNum, RecentPage>, Error> {
        let mut pages = HashMap::with_capacity(rooms.len());
        let mut missing = Vec::new();
        for room in rooms {
            match self.timelines().page(*room, since, upto, limit) {
                Some(page) => drop(pages.insert(*room, page)),
                None => missing.push(room.0),
            }
        }
        if missing.is_empty() {
            return Ok(pages);
        }
        // One more than is wanted says whether there are more.
        let steps = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let params = [
            Value::Ints(&missing),
            (upto + 1).into(),
            since.into(),
            steps.into(),
        ];
        let numbers = tx.query_all(&TIMELINES_NEWEST, &params, |row| Ok(EventNum(row.int(0)?)))?;
        for room in missing {
            pages.insert(RoomNum(room), RecentPage::default());
        }
        for event in self.events_read(tx, &numbers)? {
            if let Some(page) = pages.get_mut(&event.room) {
                page.events.push(event);
            }
        }
        for page in pages.values_mut() {
            page.events.sort_unstable_by_key(|event| event.place);
            let surplus = page.events.len().saturating_sub(limit);
            page.events.drain(..surplus);
            page.limited |= surplus > 0;
        }
        Ok(pages)
    }
}

/// The position of the first live event of a room after position `after`.
///
/// # Errors
/// When the database cannot be read.
pub fn timeline_next(tx: &mut Tx<'_>, room: RoomNum, after: i64) -> Result<Option<i64>, Error> {
    let next = tx.query_one(&TIMELINE_NEXT, &[room.into(), after.into()], |row| {
        row.opt_int(0)
    })?;
    Ok(next.flatten())
}

/// A change of a room's current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDelta {
    /// The room.
    pub room: RoomNum,
    /// The key's type.
    pub kind: TypeNum,
    /// The key's state key.
    pub key: KeyNum,
    /// The event that now holds the key; `None` when none does.
    pub event: Option<EventNum>,
    /// The event that held the key before, if one did.
    pub old: Option<EventNum>,
    /// The position of the change.
    pub position: i64,
}

/// The changes of the state of rooms, of each after a position of its own and up to `upto`, in order.
///
/// # Errors
/// When the database cannot be read.
pub fn state_deltas(
    tx: &mut Tx<'_>,
    rooms: impl IntoIterator<Item = (RoomNum, i64)>,
    upto: i64,
) -> Result<Vec<StateDelta>, Error> {
    let rooms = starling_db::pairs(rooms.into_iter().map(|(room, after)| (room.0, after)));
    let params = [rooms.as_str().into(), upto.into()];
    tx.query_all(&STATE_DELTAS, &params, |row| {
        Ok(StateDelta {
            room: RoomNum(row.int(4)?),
            kind: TypeNum(row.int(0)?),
            key: KeyNum(row.int(1)?),
            event: row.opt_int(2)?.map(EventNum),
            old: row.opt_int(5)?.map(EventNum),
            position: row.int(3)?,
        })
    })
}

/// Notes a change of a room's state; of a member who is something else now, with the tag of what they were (0: nothing).
///
/// # Errors
/// When the database fails.
pub(crate) fn state_delta_insert(
    tx: &mut Tx<'_>,
    delta: &StateDelta,
    left_tag: Option<i64>,
) -> Result<(), Error> {
    let params = [
        delta.position.into(),
        delta.room.into(),
        delta.kind.into(),
        delta.key.into(),
        delta.old.into(),
        delta.event.into(),
        left_tag.into(),
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
#[derive(Debug, Clone, Default)]
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

    /// Forgets a room that there is no longer: from the commit's hook.
    pub(crate) fn forget(&self, room: RoomNum) {
        self.rooms.remove(&room);
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
