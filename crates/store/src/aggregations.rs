//! What is kept of an event about those that relate to it, so that telling it costs the same however many these are:
//! the newest edit, how long its thread is, whether something refers to it.
//! <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>
//!
//! Written in the transaction of the event that relates, and again in that of the redaction that ends it.

use std::collections::HashMap;
use std::sync::Arc;

use starling_db::{Error, Row, Tx, Value};

use crate::events::Event;
use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::relations::{
    REFERENCE, REPLACE, Relation, RelationsOf, THREAD, relation_delete, relation_insert,
    relation_of,
};
use crate::store::Store;
use crate::timeline::{Direction, START, Stretch, end_of};
use crate::tokens::Place;

starling_db::statements! {
    /// What is kept of some events. A join, since SQLite makes a table of what stands after `IN`.
    AGGREGATIONS_READ = "SELECT kept.target, kept.room_num, kept.edit_num, kept.thread_num, kept.thread_major,
            kept.thread_minor, kept.thread_count, kept.root_sender, kept.reference_count, kept.is_unchecked
        FROM {texts ?1} AS wanted CROSS JOIN aggregations AS kept WHERE kept.target = wanted.value";
    /// Keeps something of an event.
    AGGREGATION_SET = "INSERT INTO aggregations (target, room_num, edit_num, thread_num, thread_major, thread_minor,
            thread_count, root_sender, reference_count, is_unchecked)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (target, room_num) DO UPDATE SET edit_num = excluded.edit_num, thread_num = excluded.thread_num,
            thread_major = excluded.thread_major, thread_minor = excluded.thread_minor,
            thread_count = excluded.thread_count, root_sender = excluded.root_sender,
            reference_count = excluded.reference_count, is_unchecked = excluded.is_unchecked";
    /// The threads of a room whose last event is before a boundary, that with the newest first.
    THREADS_PAGE = "SELECT target, thread_major, thread_minor FROM aggregations
        WHERE room_num = ?1 AND thread_major IS NOT NULL AND (thread_major, thread_minor) < (?2, ?3)
        ORDER BY thread_major DESC, thread_minor DESC LIMIT ?4";
    /// The same of the threads that a user began or has sent an event of: all of these are looked at, and no others.
    THREADS_PAGE_OF = "SELECT kept.target, kept.thread_major, kept.thread_minor FROM (
            SELECT target FROM thread_participants WHERE user_num = ?5 AND room_num = ?1
            UNION SELECT target FROM aggregations
                WHERE root_sender = ?5 AND room_num = ?1 AND thread_major IS NOT NULL
        ) AS own CROSS JOIN aggregations AS kept
        WHERE kept.target = own.target AND kept.room_num = ?1 AND kept.thread_major IS NOT NULL
            AND (kept.thread_major, kept.thread_minor) < (?2, ?3)
        ORDER BY kept.thread_major DESC, kept.thread_minor DESC LIMIT ?4";
    /// Notes that a user has sent an event of a thread.
    PARTICIPANT_ADD = "INSERT INTO thread_participants (target, room_num, user_num, event_count) VALUES (?1, ?2, ?3, 1)
        ON CONFLICT (target, room_num, user_num) DO UPDATE SET event_count = thread_participants.event_count + 1";
    /// Notes that an event of a user is of a thread no longer.
    PARTICIPANT_REMOVE = "UPDATE thread_participants SET event_count = event_count - 1
        WHERE target = ?1 AND room_num = ?2 AND user_num = ?3";
    /// Forgets a user who has no event in a thread.
    PARTICIPANT_FORGET = "DELETE FROM thread_participants
        WHERE target = ?1 AND room_num = ?2 AND user_num = ?3 AND event_count <= 0";
    /// The last edits of an event by who sent it, of its type: the only ones that may replace it. They are in an index of
    /// their own, in this order.
    EDITS_OF = "SELECT event_num FROM relations
        WHERE target = ?1 AND room_num = ?2 AND sender_num = ?3 AND type_num = ?4
            AND rel_type = CAST('m.replace' AS {bytes})
        ORDER BY sent_at DESC, event_num DESC LIMIT ?5";
    /// In which of some threads a user has sent something.
    THREADS_OF = "SELECT participants.target, participants.room_num
        FROM {texts ?1} AS wanted CROSS JOIN thread_participants AS participants
        WHERE participants.target = wanted.value AND participants.user_num = ?2";
}

/// So many edits are looked at where the newest was redacted. Only one that says nothing anew is passed over.
const MOST_EDITS: i64 = 20;

/// What is kept of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Aggregation {
    /// The newest valid edit.
    pub(crate) edit: Option<EventNum>,
    /// Its thread.
    pub(crate) thread: Option<Thread>,
    /// Who sent it, if that was known when it became a thread's root.
    pub(crate) root_sender: Option<UserNum>,
    /// How many events refer to it.
    pub(crate) references: i64,
    /// Whether events came before it that say they relate to it.
    pub(crate) is_unchecked: bool,
}

/// A thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thread {
    /// Its last event.
    pub(crate) latest: EventNum,
    /// Where that is in the room's order.
    pub(crate) place: Place,
    /// How many events it has, without its root.
    pub(crate) count: i64,
}

/// Whether something is kept of an event that others relate to in this way.
#[must_use]
pub fn is_aggregated(rel_type: &str) -> bool {
    matches!(rel_type, REPLACE | THREAD | REFERENCE)
}

/// Whether `edit` may replace `original`.
/// <https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events>
pub(crate) fn is_valid_edit(original: &Event, edit: &Event) -> bool {
    let says_anew = || {
        edit.pdu.kind() == "m.room.encrypted"
            || starling_events::Value::new(edit.pdu.content())
                .get("m.new_content")
                .is_some()
    };
    let is_edit = |event: &Event| {
        relation_of(&event.pdu).is_some_and(|relation| *relation.rel_type == *REPLACE)
    };
    original.room == edit.room
        && original.sender == edit.sender
        && original.kind == edit.kind
        && original.key.is_none()
        && edit.key.is_none()
        && edit.redacted_by.is_none()
        && !is_edit(original)
        && says_anew()
}

/// The newest of some edits of one event.
/// <https://spec.matrix.org/v1.19/client-server-api/#server-side-aggregation-of-mreplace-relationships>
pub(crate) fn newest_edit(edits: impl Iterator<Item = Arc<Event>>) -> Option<Arc<Event>> {
    edits.max_by(|one, other| {
        let key = |event: &Event| {
            (
                event.pdu.origin_server_ts(),
                event.pdu.event_id().to_owned(),
            )
        };
        key(one).cmp(&key(other))
    })
}

/// What is kept of the events with these ids.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn aggregations_read(
    tx: &mut Tx<'_>,
    targets: &[&str],
) -> Result<HashMap<(RoomNum, String), Aggregation>, Error> {
    let rows = tx.query_all(&AGGREGATIONS_READ, &[Value::Texts(targets)], read)?;
    Ok(rows.into_iter().collect())
}

fn read(row: &dyn Row) -> Result<((RoomNum, String), Aggregation), Error> {
    let (latest, major, minor) = (row.opt_int(3)?, row.opt_int(4)?, row.opt_int(5)?);
    let count = row.int(6)?;
    let thread = latest.zip(major.zip(minor));
    let kept = Aggregation {
        edit: row.opt_int(2)?.map(EventNum),
        thread: thread.map(|(latest, (major, minor))| Thread {
            latest: EventNum(latest),
            place: Place { major, minor },
            count,
        }),
        root_sender: row.opt_int(7)?.map(UserNum),
        references: row.int(8)?,
        is_unchecked: row.int(9)? != 0,
    };
    Ok(((RoomNum(row.int(1)?), row.text(0)?.to_owned()), kept))
}

fn aggregation_read(
    tx: &mut Tx<'_>,
    room: RoomNum,
    relation: &Relation,
) -> Result<Option<Aggregation>, Error> {
    let target = relation.target.as_str();
    Ok(aggregations_read(tx, &[target])?.remove(&(room, target.to_owned())))
}

fn aggregation_set(
    tx: &mut Tx<'_>,
    room: RoomNum,
    relation: &Relation,
    kept: &Aggregation,
) -> Result<(), Error> {
    let thread = kept.thread;
    let params = [
        relation.target.as_str().into(),
        room.into(),
        kept.edit.into(),
        thread.map(|thread| thread.latest).into(),
        thread.map(|thread| thread.place.major).into(),
        thread.map(|thread| thread.place.minor).into(),
        thread.map_or(0, |thread| thread.count).into(),
        kept.root_sender.into(),
        kept.references.into(),
        kept.is_unchecked.into(),
    ];
    tx.execute_one(&AGGREGATION_SET, &params)
}

/// In which of the threads with these roots `user` has sent something.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn threads_of(
    tx: &mut Tx<'_>,
    user: UserNum,
    roots: &[&str],
) -> Result<Vec<(RoomNum, String)>, Error> {
    tx.query_all(&THREADS_OF, &[Value::Texts(roots), user.into()], |row| {
        Ok((RoomNum(row.int(1)?), row.text(0)?.to_owned()))
    })
}

/// The ids of the roots of a room's threads, with the places of their last events: those whose last event is before a
/// boundary, that with the newest first. Only those that `participant` has a part in, if it is given.
///
/// # Errors
/// When the database cannot be read.
pub fn threads_page(
    tx: &mut Tx<'_>,
    room: RoomNum,
    before: Place,
    participant: Option<UserNum>,
    limit: i64,
) -> Result<Vec<(String, Place)>, Error> {
    let mut params = vec![
        room.into(),
        before.major.into(),
        before.minor.into(),
        limit.into(),
    ];
    params.extend(participant.map(Value::from));
    let statement = match participant {
        Some(_) => &THREADS_PAGE_OF,
        None => &THREADS_PAGE,
    };
    tx.query_all(statement, &params, |row| {
        let place = Place {
            major: row.int(1)?,
            minor: row.int(2)?,
        };
        Ok((row.text(0)?.to_owned(), place))
    })
}

impl Store {
    /// Notes that `event` relates to another; `target` is that, where it is here and in the same room.
    pub(crate) fn relate(
        &self,
        tx: &mut Tx<'_>,
        event: &Event,
        relation: &Relation,
        target: Option<&Event>,
    ) -> Result<(), Error> {
        relation_insert(tx, event, relation)?;
        let Some(place) = event.place.filter(|_| is_aggregated(&relation.rel_type)) else {
            return Ok(());
        };
        let is_valid = target.is_none_or(|target| match &*relation.rel_type {
            REPLACE => is_valid_edit(target, event),
            // A thread begins with an event that is no child of another.
            THREAD => relation_of(&target.pdu).is_none(),
            _ => true,
        });
        if !is_valid {
            return Ok(());
        }
        let mut kept = aggregation_read(tx, event.room, relation)?.unwrap_or_default();
        kept.is_unchecked |= target.is_none();
        match &*relation.rel_type {
            REPLACE if target.is_some() => {
                let edits = self.events_read(tx, kept.edit.as_slice())?;
                let edits = edits.into_iter().chain([Arc::new(event.clone())]);
                kept.edit = newest_edit(edits).map(|edit| edit.num);
            }
            THREAD => {
                let thread = kept.thread.get_or_insert(Thread {
                    latest: event.num,
                    place,
                    count: 0,
                });
                thread.count += 1;
                if place > thread.place {
                    (thread.latest, thread.place) = (event.num, place);
                }
                kept.root_sender = target.map(|root| root.sender).or(kept.root_sender);
                tx.execute_one(&PARTICIPANT_ADD, &participant(event, relation))?;
            }
            REFERENCE => kept.references += 1,
            _ => {}
        }
        aggregation_set(tx, event.room, relation, &kept)
    }

    /// Notes that `event`, which is being redacted, relates to nothing any longer.
    pub(crate) fn unrelate(&self, tx: &mut Tx<'_>, event: &Event) -> Result<(), Error> {
        let Some(relation) = relation_of(&event.pdu) else {
            return Ok(());
        };
        // Two redactions of one event may be under way.
        if !relation_delete(tx, event, &relation)? {
            return Ok(());
        }
        let Some(mut kept) = aggregation_read(tx, event.room, &relation)? else {
            return Ok(());
        };
        match &*relation.rel_type {
            REPLACE if kept.edit == Some(event.num) => {
                let original = self.event_by_id(tx, &relation.target)?;
                let edit = original.map_or(Ok(None), |original| self.last_edit(tx, &original))?;
                kept.edit = edit.map(|edit| edit.num);
            }
            THREAD => {
                tx.execute(&PARTICIPANT_REMOVE, &participant(event, &relation))?;
                tx.execute(&PARTICIPANT_FORGET, &participant(event, &relation))?;
                if let Some(thread) = &mut kept.thread {
                    thread.count -= 1;
                }
                if kept.thread.is_some_and(|thread| thread.latest == event.num) {
                    let latest = self.last_in_thread(tx, event.room, &relation)?;
                    let latest = latest.and_then(|latest| Some((latest.num, latest.place?)));
                    kept.thread = kept
                        .thread
                        .zip(latest)
                        .map(|(thread, (latest, place))| Thread {
                            latest,
                            place,
                            ..thread
                        });
                }
            }
            REFERENCE => kept.references -= 1,
            _ => {}
        }
        aggregation_set(tx, event.room, &relation, &kept)
    }

    /// The newest valid edit of an event.
    fn last_edit(&self, tx: &mut Tx<'_>, original: &Event) -> Result<Option<Arc<Event>>, Error> {
        let params = [
            original.pdu.event_id().as_str().into(),
            original.room.into(),
            original.sender.into(),
            original.kind.into(),
            MOST_EDITS.into(),
        ];
        let edits = tx.query_all(&EDITS_OF, &params, |row| Ok(EventNum(row.int(0)?)))?;
        let edits = self.events_read(tx, &edits)?.into_iter();
        Ok(newest_edit(
            edits.filter(|edit| is_valid_edit(original, edit)),
        ))
    }

    /// The last event of the room that relates to the same event in the same way.
    fn last_in_thread(
        &self,
        tx: &mut Tx<'_>,
        room: RoomNum,
        relation: &Relation,
    ) -> Result<Option<Arc<Event>>, Error> {
        let wanted = RelationsOf {
            room,
            target: &relation.target,
            rel_type: Some(&relation.rel_type),
            kind: None,
            recurse: None,
        };
        let all = Stretch {
            from: START,
            to: end_of(i64::MAX - 1),
        };
        let last = self.relations_page(tx, &wanted, (all, Direction::Backwards), 1)?;
        Ok(last.events.into_iter().next())
    }
}

fn participant<'a>(event: &'a Event, relation: &'a Relation) -> [Value<'a>; 3] {
    [
        relation.target.as_str().into(),
        event.room.into(),
        event.sender.into(),
    ]
}
