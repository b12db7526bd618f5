//! Unread counts, read: for some rooms of one user at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma_common::OwnedEventId;
use starling_db::{Error, Tx, Value, pairs};
use starling_pushrules::{Ruleset, Shape, Verdict};

use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::rooms::RoomSnapshot;
use crate::store::Store;
use crate::unread::cache::{Exception, Known};
use crate::unread::marks::{Marks, marks_of_rooms};
use crate::unread::totals::Totals;

starling_db::statements! {
    /// The totals of rooms, the last redacted event, and the last one in a thread.
    ROOM_COUNTS = "SELECT rooms.room_num, events.totals,
            (SELECT MAX(redacted.place_major) FROM events AS redacted
                WHERE redacted.room_num = rooms.room_num AND redacted.redacted_by IS NOT NULL),
            (SELECT MAX(ends.last_position) FROM thread_ends AS ends WHERE ends.room_num = rooms.room_num)
        FROM rooms LEFT JOIN events ON events.room_num = rooms.room_num AND events.place_major = rooms.last_position
            AND events.place_minor = 0
        WHERE rooms.room_num IN {ints ?1}";
    /// The threads of events.
    THREADS_OF_EVENTS = "SELECT events.event_num, ends.root_id FROM {ints ?1} AS wanted CROSS JOIN events
            CROSS JOIN thread_ends AS ends
        WHERE events.event_num = wanted.value AND ends.room_num = events.room_num AND ends.thread_num = events.thread_num";
    /// The totals at some positions, where the events there have the same number: nearly all live ones.
    TOTALS_AT = "SELECT event_num, room_num, totals FROM events WHERE event_num IN {ints ?1} AND totals IS NOT NULL";
    /// The totals of a room at the last event up to a position.
    TOTALS_UPTO = "SELECT totals FROM events WHERE room_num = ?1 AND place_major <= ?2 AND totals IS NOT NULL
        ORDER BY place_major DESC, place_minor DESC LIMIT 1";
    /// The threads of a room that have grown after a position, the last ones first; with a user's own last event in each
    /// and the totals up to another position.
    THREADS_GROWN = "SELECT ends.thread_num, ends.root_id, ends.last_position, ends.totals,
            (SELECT events.place_major FROM events
                WHERE events.room_num = ?1 AND events.sender_num = ?4 AND events.thread_num = ends.thread_num
                    AND events.shape < 144
                ORDER BY events.place_major DESC LIMIT 1)
        FROM thread_ends AS ends
        WHERE ends.room_num = ?1 AND ends.last_position > ?2 ORDER BY ends.last_position DESC LIMIT ?3";
    /// The totals of some threads, each at its last event up to a position.
    THREAD_TOTALS_UPTO = "SELECT wanted.one, wanted.other, (SELECT events.thread_totals FROM events
            WHERE events.room_num = ?1 AND events.thread_num = wanted.one AND events.thread_num > 0
                AND events.place_major <= wanted.other
            ORDER BY events.place_major DESC LIMIT 1)
        FROM {pairs ?2} AS wanted";
    /// What a user's rules said of events of some rooms when they came; `event_num` is their position.
    EXCEPTIONS_READ = "SELECT exceptions.room_num, exceptions.event_num, exceptions.thread_num, exceptions.notify,
            exceptions.highlight, events.shape, events.sender_num, events.redacted_by
        FROM {ints ?2} AS wanted CROSS JOIN unread_exceptions AS exceptions CROSS JOIN events
        WHERE exceptions.user_num = ?1 AND exceptions.room_num = wanted.value AND exceptions.event_num > ?3
            AND events.room_num = exceptions.room_num AND events.place_major = exceptions.event_num
            AND events.place_minor = 0";
    /// The newest redacted events of a room in a stretch of the log.
    REDACTED = "SELECT thread_num, place_major, shape, sender_num FROM events
        WHERE room_num = ?1 AND redacted_by IS NOT NULL AND place_major > ?2 AND place_major <= ?3
            AND shape IS NOT NULL
        ORDER BY place_major DESC LIMIT ?4";
    /// How many events of which shape some users have sent to some timelines, each after a position of its own: of at most
    /// ?5 events.
    OF_SENDERS = "SELECT theirs.thread, theirs.shape, COUNT(*) FROM (
            SELECT wanted.one AS thread, events.shape
            FROM {pairs ?2} AS wanted CROSS JOIN {ints ?3} AS senders CROSS JOIN events
            WHERE events.room_num = ?1 AND events.sender_num = senders.value AND events.thread_num = wanted.one
                AND events.place_major > wanted.other AND events.place_major <= ?4 AND events.shape IS NOT NULL
            LIMIT ?5
        ) AS theirs GROUP BY theirs.thread, theirs.shape";
}

/// Of so many threads of a room counts are told, those that grew last. Receipts of no more are kept: who has read these
/// threads has receipts at their ends, which lie further than any of older threads. Of who has so many, a thread without
/// a receipt counts from the first of them on.
pub(crate) const MOST_THREADS: i64 = 500;

/// So many events that count for nothing are taken out of what is not read of a room, one by one. Further ones count:
/// of so many, nobody reads the number.
const MOST_TAKEN_OUT: i64 = 10_000;

/// How many events a user has not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Of which the user wants to be told.
    pub notify: i64,
    /// Of these, those that stand out.
    pub highlight: i64,
}

impl Count {
    /// Whether there are none.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, verdict: Verdict, times: i64) {
        self.notify += if verdict.notify { times } else { 0 };
        self.highlight += if verdict.highlight { times } else { 0 };
    }

    fn plus(self, other: Self) -> Self {
        Self {
            notify: self.notify + other.notify,
            highlight: self.highlight + other.highlight,
        }
    }

    fn at_least_zero(self) -> Self {
        Self {
            notify: self.notify.max(0),
            highlight: self.highlight.max(0),
        }
    }
}

/// What a user has not read of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread {
    /// In the main timeline.
    pub main: Count,
    /// In threads where there is something, by root.
    pub threads: Vec<(OwnedEventId, Count)>,
    /// Whether there are events after the marks at all, wanted or not.
    pub has_events: bool,
}

impl Unread {
    /// In the main timeline and all threads together.
    #[must_use]
    pub fn all(&self) -> Count {
        let counts = self.threads.iter().map(|(_, count)| *count);
        counts.fold(self.main, Count::plus)
    }
}

/// Whose counts, and as of when.
#[derive(Debug, Clone)]
pub struct UnreadOf<'a> {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: &'a str,
    /// The user's rules.
    pub rules: Arc<Ruleset>,
    /// Users whose events the user is not told of.
    pub ignored: &'a [UserNum],
    /// The position as of which they are counted.
    pub upto: i64,
}

/// A stretch of a timeline that is not read.
struct Stretch {
    thread: EventNum,
    /// The root of the thread.
    root: Option<OwnedEventId>,
    after: i64,
    totals: Totals,
}

/// What it takes to count in one room.
struct Counting<'a> {
    of: &'a UnreadOf<'a>,
    snapshot: &'a RoomSnapshot,
    known: &'a Known,
    redacted: Redacted,
}

/// The newest redacted events of a room that are not read.
#[derive(Debug, Default)]
struct Redacted {
    /// Of each timeline: position, shape and sender.
    timelines: HashMap<EventNum, Vec<(i64, Shape, UserNum)>>,
    /// The positions of all of them.
    positions: HashSet<i64>,
}

impl Redacted {
    fn read(
        tx: &mut Tx<'_>,
        room: RoomNum,
        (after, upto): (i64, i64),
        most: i64,
    ) -> Result<Self, Error> {
        let mut redacted = Self::default();
        let params = [room.into(), after.into(), upto.into(), most.into()];
        tx.query(&REDACTED, &params, &mut |row| {
            let (thread, position) = (EventNum(row.int(0)?), row.int(1)?);
            if let Some(shape) = shape(row.int(2)?) {
                let event = (position, shape, UserNum(row.int(3)?));
                redacted.timelines.entry(thread).or_default().push(event);
                redacted.positions.insert(position);
            }
            Ok(())
        })?;
        Ok(redacted)
    }

    /// How many of which shape there are in a stretch of a timeline, without those of `hidden`.
    fn totals(&self, stretch: &Stretch, hidden: &[i64]) -> Totals {
        let events = self.timelines.get(&stretch.thread).into_iter().flatten();
        let counted = events.filter(|(position, _, sender)| {
            *position > stretch.after && !hidden.contains(&sender.0)
        });
        Totals::of(counted.map(|(_, shape, _)| (*shape, 1)))
    }
}

impl Store {
    /// What a user has not read of rooms, which they joined at these places. What isn't at hand takes four queries for all
    /// of them, and a few more only for rooms with threads that have grown, redacted events, or events of ignored users.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn unread_of_rooms(
        &self,
        tx: &mut Tx<'_>,
        of: &UnreadOf<'_>,
        rooms: &[(Arc<RoomSnapshot>, i64)],
    ) -> Result<HashMap<RoomNum, Unread>, Error> {
        let known = self.unread_known(tx, of.user, rooms)?;
        let mut unread = HashMap::with_capacity(rooms.len());
        for (snapshot, _) in rooms {
            if let Some(known) = known.get(&snapshot.room) {
                let mut counting = Counting {
                    of,
                    snapshot,
                    known,
                    redacted: Redacted::default(),
                };
                unread.insert(snapshot.room, counting.read(tx)?);
            }
        }
        Ok(unread)
    }

    fn unread_known(
        &self,
        tx: &mut Tx<'_>,
        user: UserNum,
        rooms: &[(Arc<RoomSnapshot>, i64)],
    ) -> Result<HashMap<RoomNum, Arc<Known>>, Error> {
        let mut found = HashMap::with_capacity(rooms.len());
        let mut missing = Vec::new();
        for (snapshot, joined) in rooms {
            match self.unread_cache().get(user, snapshot.room, *joined) {
                Some(known) => drop(found.insert(snapshot.room, known)),
                None => missing.push((Arc::clone(snapshot), *joined)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let places: Vec<(RoomNum, i64)> = missing
            .iter()
            .map(|(snapshot, joined)| (snapshot.room, *joined))
            .collect();
        let mut marks = marks_of_rooms(tx, user, &places)?;
        let mut totals = totals_at(tx, &missing, &marks)?;
        let mut exceptions = exceptions_of(tx, user, &missing, &marks)?;
        for (snapshot, joined) in missing {
            let room = snapshot.room;
            let Some(marks) = marks.remove(&room) else {
                continue;
            };
            let read = match totals.remove(&room) {
                Some(read) => read,
                None if marks.main == snapshot.last_position => snapshot.unread.totals.clone(),
                None => totals_upto(tx, room, marks.main)?,
            };
            let known = Arc::new(Known {
                joined,
                marks,
                read,
                exceptions: exceptions.remove(&room).unwrap_or_default(),
            });
            self.unread_cache().insert_read(tx, (user, room), &known);
            found.insert(room, known);
        }
        Ok(found)
    }
}

/// Fills in what rooms that are being read have in totals.
pub(crate) fn room_counts(tx: &mut Tx<'_>, snapshots: &mut [RoomSnapshot]) -> Result<(), Error> {
    let rooms: Vec<i64> = snapshots.iter().map(|snapshot| snapshot.room.0).collect();
    let mut found = HashMap::with_capacity(rooms.len());
    tx.query(&ROOM_COUNTS, &[Value::Ints(&rooms)], &mut |row| {
        let totals = row.opt_bytes(1)?.map(Totals::read).transpose()?;
        let last = (row.opt_int(2)?.unwrap_or(0), row.opt_int(3)?.unwrap_or(0));
        found.insert(RoomNum(row.int(0)?), (totals.unwrap_or_default(), last));
        Ok(())
    })?;
    for snapshot in snapshots {
        if let Some((totals, (redacted, threaded))) = found.remove(&snapshot.room) {
            snapshot.unread.totals = totals;
            snapshot.unread.last_redacted = redacted;
            snapshot.unread.last_threaded = threaded;
        }
    }
    Ok(())
}

/// The roots of the threads that events are in, of those that are in one.
///
/// # Errors
/// When the database cannot be read.
pub fn threads_of_events(
    tx: &mut Tx<'_>,
    events: &[EventNum],
) -> Result<HashMap<EventNum, OwnedEventId>, Error> {
    let numbers: Vec<i64> = events.iter().map(|event| event.0).collect();
    let read = tx.query_all(&THREADS_OF_EVENTS, &[Value::Ints(&numbers)], |row| {
        let root = OwnedEventId::try_from(row.text(1)?);
        let root = root.map_err(|_| Error::Damaged("the root of a thread".to_owned()))?;
        Ok((EventNum(row.int(0)?), root))
    })?;
    Ok(read.into_iter().collect())
}

/// The totals of the main timelines at the marks, where these are not their ends.
fn totals_at(
    tx: &mut Tx<'_>,
    rooms: &[(Arc<RoomSnapshot>, i64)],
    marks: &HashMap<RoomNum, Marks>,
) -> Result<HashMap<RoomNum, Totals>, Error> {
    let mark = |snapshot: &RoomSnapshot| marks.get(&snapshot.room).map_or(0, |marks| marks.main);
    let wanted: Vec<i64> = rooms
        .iter()
        .map(|(snapshot, _)| (mark(snapshot), snapshot.last_position))
        .filter_map(|(mark, last)| (mark != last).then_some(mark))
        .collect();
    let mut found = HashMap::with_capacity(wanted.len());
    if wanted.is_empty() {
        return Ok(found);
    }
    tx.query(&TOTALS_AT, &[Value::Ints(&wanted)], &mut |row| {
        found.insert(RoomNum(row.int(1)?), Totals::read(row.bytes(2)?)?);
        Ok(())
    })?;
    Ok(found)
}

/// The exceptions after the marks of each room, and perhaps some before.
fn exceptions_of(
    tx: &mut Tx<'_>,
    user: UserNum,
    rooms: &[(Arc<RoomSnapshot>, i64)],
    marks: &HashMap<RoomNum, Marks>,
) -> Result<HashMap<RoomNum, Vec<Exception>>, Error> {
    let wanted: Vec<i64> = rooms.iter().map(|(snapshot, _)| snapshot.room.0).collect();
    let after = marks.values().map(|marks| marks.all).min().unwrap_or(0);
    let mut found: HashMap<RoomNum, Vec<Exception>> = HashMap::new();
    let params = [user.into(), Value::Ints(&wanted), after.into()];
    tx.query(&EXCEPTIONS_READ, &params, &mut |row| {
        let exception = Exception {
            position: row.int(1)?,
            thread: EventNum(row.int(2)?),
            verdict: Verdict {
                notify: row.truth(3)?,
                highlight: row.truth(4)?,
            },
            shape: row.opt_int(5)?.and_then(shape),
            sender: UserNum(row.int(6)?),
            is_redacted: row.opt_int(7)?.is_some(),
        };
        found
            .entry(RoomNum(row.int(0)?))
            .or_default()
            .push(exception);
        Ok(())
    })?;
    Ok(found)
}

fn shape(code: i64) -> Option<Shape> {
    Shape::from_code(u8::try_from(code).ok()?)
}

impl Counting<'_> {
    fn read(&mut self, tx: &mut Tx<'_>) -> Result<Unread, Error> {
        let (room, marks) = (self.snapshot.room, &self.known.marks);
        let has_threads = self.snapshot.unread.last_threaded > marks.all;
        let first = if has_threads { marks.all } else { marks.main };
        if self.snapshot.unread.last_redacted > first {
            let stretch = (first, self.of.upto);
            self.redacted = Redacted::read(tx, room, stretch, MOST_TAKEN_OUT)?;
        }
        let mut stretches = Vec::new();
        if marks.main < self.snapshot.last_position.min(self.of.upto) {
            stretches.push(Stretch {
                thread: EventNum(0),
                root: None,
                after: marks.main,
                totals: self.main_totals(tx)?.without(&self.known.read),
            });
        }
        if has_threads {
            stretches.extend(self.threads(tx)?);
        }
        stretches.retain(|stretch| !stretch.totals.is_empty());
        let mut unread = Unread {
            has_events: !stretches.is_empty(),
            ..Unread::default()
        };
        let hidden = self.hidden(&stretches);
        let theirs = self.sent_by(tx, &hidden, &stretches)?;
        for stretch in stretches {
            let count = self.count(&stretch, &hidden, theirs.get(&stretch.thread));
            match stretch.root {
                None => unread.main = count,
                Some(_) if count.is_zero() => {}
                Some(id) => unread.threads.push((id, count)),
            }
        }
        Ok(unread)
    }

    /// The totals of the main timeline now.
    fn main_totals(&self, tx: &mut Tx<'_>) -> Result<Totals, Error> {
        if self.snapshot.last_position <= self.of.upto {
            return Ok(self.snapshot.unread.totals.clone());
        }
        totals_upto(tx, self.snapshot.room, self.of.upto)
    }

    /// What is not read of threads, with two queries for all of them.
    fn threads(&self, tx: &mut Tx<'_>) -> Result<Vec<Stretch>, Error> {
        let (room, marks, upto) = (self.snapshot.room, &self.known.marks, self.of.upto);
        let params = [
            room.into(),
            marks.all.into(),
            MOST_THREADS.into(),
            self.of.user.into(),
        ];
        let mut grown = tx.query_all(&THREADS_GROWN, &params, |row| {
            let id = OwnedEventId::try_from(row.text(1)?);
            let id = id.map_err(|_| Error::Damaged("the root of a thread".to_owned()))?;
            let own = row.opt_int(4)?.unwrap_or(0);
            let end = (row.int(2)?, Totals::read(row.bytes(3)?)?);
            Ok((EventNum(row.int(0)?), marks.thread(&id).max(own), id, end))
        })?;
        grown.retain(|(_, after, _, (last, _))| *after < (*last).min(upto));
        let places = grown.iter().flat_map(|(thread, after, _, (last, _))| {
            let end = (*last > upto).then_some((thread.0, upto));
            [(thread.0, *after)].into_iter().chain(end)
        });
        let read = thread_totals_upto(tx, room, places)?;
        let at = |thread: EventNum, position| read.get(&(thread.0, position));
        let stretches = grown
            .into_iter()
            .map(|(thread, after, root, (last, totals))| {
                let totals = if last <= upto {
                    totals
                } else {
                    at(thread, upto).cloned().unwrap_or_default()
                };
                let totals = match at(thread, after) {
                    Some(read) => totals.without(read),
                    None => totals,
                };
                Stretch {
                    thread,
                    root: Some(root),
                    after,
                    totals,
                }
            });
        Ok(stretches.collect())
    }

    /// What some users have sent in stretches, by thread.
    fn sent_by(
        &self,
        tx: &mut Tx<'_>,
        users: &[i64],
        stretches: &[Stretch],
    ) -> Result<HashMap<EventNum, Totals>, Error> {
        let mut found: HashMap<EventNum, Vec<(Shape, i64)>> = HashMap::new();
        if users.is_empty() || stretches.is_empty() {
            return Ok(HashMap::new());
        }
        let places = stretches.iter().map(|it| (it.thread.0, it.after));
        let places = pairs(places);
        let params = [
            self.snapshot.room.into(),
            Value::Text(&places),
            Value::Ints(users),
            self.of.upto.into(),
            MOST_TAKEN_OUT.into(),
        ];
        tx.query(&OF_SENDERS, &params, &mut |row| {
            let counts = found.entry(EventNum(row.int(0)?)).or_default();
            counts.extend(shape(row.int(1)?).zip(Some(row.int(2)?)));
            Ok(())
        })?;
        let totals = found.into_iter();
        Ok(totals
            .map(|(thread, counts)| (thread, Totals::of(counts)))
            .collect())
    }

    /// Counts what is not read of a timeline: by shape, less what nobody is told of, and exceptions by themselves. `theirs`
    /// is what `hidden` users have sent in it.
    fn count(&self, stretch: &Stretch, hidden: &[i64], theirs: Option<&Totals>) -> Count {
        let mut totals = stretch.totals.clone();
        if let Some(theirs) = theirs {
            totals = totals.without(theirs);
        }
        totals = totals.without(&self.redacted.totals(stretch, hidden));
        let mut count = Count::default();
        for (shape, times) in totals.iter() {
            count.add(self.verdict(shape), times);
        }
        for exception in &self.known.exceptions {
            let counts = exception.thread == stretch.thread
                && (stretch.after + 1..=self.of.upto).contains(&exception.position)
                && !self.is_redacted(exception)
                && !hidden.contains(&exception.sender.0);
            if counts {
                let by_shape = exception.shape.map(|shape| self.verdict(shape));
                count.add(by_shape.unwrap_or_default(), -1);
                count.add(exception.verdict, 1);
            }
        }
        count.at_least_zero()
    }

    /// Those whose events don't count: who is ignored, and the user, where something of their own may be after a mark.
    fn hidden(&self, stretches: &[Stretch]) -> Vec<i64> {
        let mut hidden: Vec<i64> = self.of.ignored.iter().map(|user| user.0).collect();
        let mut shapes = stretches.iter().flat_map(|it| it.totals.iter());
        if shapes.any(|(shape, _)| shape.is_member() && self.verdict(shape).notify) {
            hidden.push(self.of.user.0);
        }
        hidden
    }

    /// Also what was redacted since it became known.
    fn is_redacted(&self, exception: &Exception) -> bool {
        exception.is_redacted || self.redacted.positions.contains(&exception.position)
    }

    fn verdict(&self, shape: Shape) -> Verdict {
        self.of
            .rules
            .verdict(shape, self.snapshot.for_rules(), self.of.user_id)
    }
}

fn totals_upto(tx: &mut Tx<'_>, room: RoomNum, position: i64) -> Result<Totals, Error> {
    let read = tx.query_one(&TOTALS_UPTO, &[room.into(), position.into()], |row| {
        Totals::read(row.bytes(0)?)
    })?;
    Ok(read.unwrap_or_default())
}

/// The totals of threads, each up to a position, by both.
fn thread_totals_upto(
    tx: &mut Tx<'_>,
    room: RoomNum,
    places: impl Iterator<Item = (i64, i64)>,
) -> Result<HashMap<(i64, i64), Totals>, Error> {
    let places = pairs(places);
    let mut found = HashMap::new();
    let params = [room.into(), Value::Text(&places)];
    tx.query(&THREAD_TOTALS_UPTO, &params, &mut |row| {
        if let Some(totals) = row.opt_bytes(2)? {
            found.insert((row.int(0)?, row.int(1)?), Totals::read(totals)?);
        }
        Ok(())
    })?;
    Ok(found)
}
