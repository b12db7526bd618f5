//! Purging a room: all that is here of it is deleted, piece by piece.
//!
//! It begins with the room's own row, so that from then on nobody finds the room, and what is appended to it fails. Its number
//! is never given again: should the room come back, it is another one. What is left is deleted by a job, in the order of
//! [`STEPS`]; each piece is a transaction that changes nothing when it runs again.
//!
//! No index is there for purges alone: it would cost every write. Tables whose keys begin with a user are gone through by
//! users; those that are only found by their own number are read from beginning to end, outside of the write.

use ruma_common::RoomId;
use starling_db::{Error, Sql, Tx, Value, Write};

use crate::device_lists_resent::elsewhere_of_room;
use crate::jobs::Task;
use crate::numbers::{RoomNum, UserNum};
use crate::remote_invites::room_is_joined;
use crate::store::Store;

starling_db::statements! {
    /// A room, and where its head is.
    PURGED_ROOM = "SELECT room_id, append_count, head_hash FROM rooms WHERE room_num = ?1";
    /// A room by its id.
    PURGE_FIND = "SELECT room_num FROM rooms WHERE room_id = ?1";
    /// Takes a room away, if nothing was appended meanwhile.
    PURGED_ROOM_DELETE = "DELETE FROM rooms WHERE room_num = ?1 AND append_count = ?2 AND head_hash = ?3";
    /// How many users of this server are in a room.
    PURGE_JOINED = "SELECT COUNT(*) FROM memberships WHERE room_num = ?1 AND membership = 2";
    /// The next users of this server who are in a room.
    PURGE_JOINED_PAGE = "SELECT user_num FROM memberships WHERE room_num = ?1 AND membership = 2 AND user_num > ?2
        ORDER BY user_num LIMIT ?3";
    /// Whether other servers are still to be sent something of a room.
    PURGE_UNSENT = "SELECT 1 FROM outgoing WHERE room_num = ?1 LIMIT 1";
    /// Notes that a room is being purged.
    PURGE_INSERT = "INSERT INTO purges (room_num, room_id) VALUES (?1, ?2)";
    /// Whether the room of this id is being purged.
    PURGE_READ = "SELECT 1 FROM purges WHERE room_id = ?1";
    /// The end of a purge.
    PURGE_DELETE = "DELETE FROM purges WHERE room_num = ?1 RETURNING room_id";
    /// Whether a room is to be purged.
    PURGE_JOB = "SELECT 1 FROM jobs WHERE kind = 'purge' AND subject = ?1";

    /// Deletes what lists show of a room.
    PURGE_DETAILS = "DELETE FROM room_details WHERE room_num = ?1";
    /// Deletes that a room may have missed something.
    PURGE_BEHIND = "DELETE FROM rooms_behind WHERE room_num = ?1";
    /// Deletes aliases of a room.
    PURGE_ALIASES = "DELETE FROM aliases WHERE alias IN (SELECT alias FROM aliases WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes receipts of a room.
    PURGE_RECEIPTS = "DELETE FROM receipts WHERE room_num = ?1
        AND position IN (SELECT position FROM receipts WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes receipts that wait for events of a room.
    PURGE_WAITING_RECEIPTS = "DELETE FROM waiting_receipts WHERE room_num = ?1 AND (user_num, kind, thread) IN
        (SELECT user_num, kind, thread FROM waiting_receipts WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes what waits in the inbox of a room.
    PURGE_INBOX = "DELETE FROM inbox WHERE inbox_num IN (SELECT inbox_num FROM inbox WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes gaps of a room.
    PURGE_GAPS = "DELETE FROM gaps WHERE room_num = ?1 AND (place_major, place_minor, event_id) IN
        (SELECT place_major, place_minor, event_id FROM gaps WHERE room_num = ?1 LIMIT ?2)";
    /// Whether other servers ever were in a room.
    PURGE_SHARED = "SELECT 1 FROM room_servers WHERE room_num = ?1 LIMIT 1";
    /// Deletes which servers are in a room.
    PURGE_SERVERS = "DELETE FROM room_servers WHERE room_num = ?1 AND (server, until_position) IN
        (SELECT server, until_position FROM room_servers WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes what is sent of a room.
    PURGE_OUTGOING = "DELETE FROM outgoing WHERE position IN (SELECT position FROM outgoing WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes the ends of a room's threads.
    PURGE_THREAD_ENDS = "DELETE FROM thread_ends WHERE room_num = ?1
        AND thread_num IN (SELECT thread_num FROM thread_ends WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes changes of a room's state.
    PURGE_STATE_DELTAS = "DELETE FROM state_deltas
        WHERE position IN (SELECT position FROM state_deltas WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes whose devices changed while they were in a room.
    PURGE_DEVICE_LISTS = "DELETE FROM device_list_rooms WHERE room_num = ?1
        AND user_num IN (SELECT user_num FROM device_list_rooms WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes the words by which members of a room are found.
    PURGE_MEMBER_WORDS = "DELETE FROM member_words WHERE room_num = ?1 AND (word, key_num) IN
        (SELECT word, key_num FROM member_words WHERE room_num = ?1 LIMIT ?2)";
    /// Deletes redactions that wait for events of a room. They are few everywhere: all are looked at.
    PURGE_WAITING_REDACTIONS = "DELETE FROM waiting_redactions WHERE (target, event_num) IN
        (SELECT target, event_num FROM waiting_redactions WHERE room_num = ?1 LIMIT ?2)";

    /// The last of the next users, and how many these are.
    PURGE_USERS = "SELECT MAX(user_num), COUNT(*) FROM
        (SELECT user_num FROM users WHERE user_num > ?1 ORDER BY user_num LIMIT ?2) AS next";
    /// Deletes what users are in a room.
    PURGE_MEMBERSHIPS = "DELETE FROM memberships WHERE (user_num, room_num) IN
        (SELECT held.user_num, held.room_num FROM users CROSS JOIN memberships AS held
            WHERE users.user_num > ?2 AND users.user_num <= ?3 AND held.user_num = users.user_num
                AND held.room_num = ?1 LIMIT ?4)";
    /// Deletes what users were in a room.
    PURGE_MEMBERSHIP_CHANGES = "DELETE FROM membership_changes WHERE position IN
        (SELECT held.position FROM users CROSS JOIN membership_changes AS held
            WHERE users.user_num > ?2 AND users.user_num <= ?3 AND held.user_num = users.user_num
                AND held.room_num = ?1 LIMIT ?4)";
    /// Deletes invites to a room, and knocks at it.
    PURGE_REMOTE_INVITES = "DELETE FROM remote_invites WHERE (user_num, room_num) IN
        (SELECT held.user_num, held.room_num FROM users CROSS JOIN remote_invites AS held
            WHERE users.user_num > ?2 AND users.user_num <= ?3 AND held.user_num = users.user_num
                AND held.room_num = ?1 LIMIT ?4)";
    /// Deletes account data of a room.
    PURGE_ACCOUNT_DATA = "DELETE FROM account_data WHERE (user_num, room_num, type) IN
        (SELECT held.user_num, held.room_num, held.type FROM users CROSS JOIN account_data AS held
            WHERE users.user_num > ?2 AND users.user_num <= ?3 AND held.user_num = users.user_num
                AND held.room_num = ?1 LIMIT ?4)";
    /// Deletes what users' rules say of events of a room.
    PURGE_EXCEPTIONS = "DELETE FROM unread_exceptions WHERE (user_num, room_num, event_num) IN
        (SELECT held.user_num, held.room_num, held.event_num FROM users CROSS JOIN unread_exceptions AS held
            WHERE users.user_num > ?2 AND users.user_num <= ?3 AND held.user_num = users.user_num
                AND held.room_num = ?1 LIMIT ?4)";
    /// Deletes what users were on branches of a room.
    PURGE_FORK_MEMBERS = "DELETE FROM fork_members WHERE (user_num, room_num, place_major) IN
        (SELECT held.user_num, held.room_num, held.place_major FROM users CROSS JOIN fork_members AS held
            WHERE users.user_num > ?2 AND users.user_num <= ?3 AND held.user_num = users.user_num
                AND held.room_num = ?1 LIMIT ?4)";
    /// Deletes who takes part in threads of a room.
    PURGE_PARTICIPANTS = "DELETE FROM thread_participants WHERE (target, room_num, user_num) IN
        (SELECT held.target, held.room_num, held.user_num FROM users CROSS JOIN thread_participants AS held
            WHERE users.user_num > ?2 AND users.user_num <= ?3 AND held.user_num = users.user_num
                AND held.room_num = ?1 LIMIT ?4)";

    /// The next relations of a room.
    PURGE_RELATIONS_FIND = "SELECT target, place_major, place_minor FROM relations WHERE room_num = ?1
        ORDER BY place_major, place_minor LIMIT ?2";
    /// Deletes the relations of a room up to a place.
    PURGE_RELATIONS = "DELETE FROM relations WHERE room_num = ?1 AND (place_major, place_minor) <= (?2, ?3)";
    /// What is kept of events of a room.
    PURGE_AGGREGATIONS_FIND = "SELECT target FROM aggregations WHERE room_num = ?1 LIMIT ?2";
    /// Deletes what is kept of events of a room.
    PURGE_AGGREGATIONS = "DELETE FROM aggregations WHERE room_num = ?1 AND target IN {texts ?2}";

    /// Events of a room.
    PURGE_EVENTS_FIND = "SELECT event_num, event_id, place_major, txn_device FROM events WHERE room_num = ?1 LIMIT ?2";
    /// Deletes which events cite some others.
    PURGE_AUTH_EDGES = "DELETE FROM auth_edges WHERE (auth_num, event_num) IN
        (SELECT edges.auth_num, edges.event_num FROM {ints ?1} AS wanted CROSS JOIN auth_edges AS edges
            WHERE edges.auth_num = wanted.value LIMIT ?2)";
    /// Deletes which servers get some events.
    PURGE_DESTINATION_EVENTS = "DELETE FROM destination_events WHERE position IN {ints ?1}";
    /// Deletes the transaction ids of some devices that led to some events.
    PURGE_TRANSACTIONS = "DELETE FROM transactions WHERE device_num IN {ints ?1} AND event_num IN {ints ?2}";
    /// Deletes events.
    PURGE_EVENTS = "DELETE FROM events WHERE event_num IN {ints ?1}";

    /// The next states of a room.
    PURGE_SNAPSHOTS_FIND = "SELECT snapshot_num FROM snapshots WHERE snapshot_num > ?2 AND room_num = ?1
        ORDER BY snapshot_num LIMIT ?3";
    /// Deletes states.
    PURGE_SNAPSHOTS = "DELETE FROM snapshots WHERE snapshot_num IN {ints ?1}";
    /// The next pieces of states of a room.
    PURGE_PIECES_FIND = "SELECT piece_num FROM snapshot_pieces WHERE piece_num > ?2 AND room_num = ?1
        ORDER BY piece_num LIMIT ?3";
    /// Deletes pieces of states.
    PURGE_PIECES = "DELETE FROM snapshot_pieces WHERE piece_num IN {ints ?1}";
}

/// At most so many rows a write, or users that it looks at.
const PIECE: i64 = 500;

/// At most so many events a write, which take rows of other tables along.
const EVENTS: i64 = 100;

/// A job's progress counts steps by this; what is below it is where the step is.
const STEP: i64 = 1 << 44;

/// The progress of a purge that has begun: before, users leave the room.
pub const PURGE_BEGUN: i64 = STEP;

/// What is deleted at one go.
enum Step {
    /// What an index finds by the room: ?1, at most ?2 rows.
    OfRoom(&'static Sql),
    /// Who shared the room with other servers is noted.
    Sharers,
    /// What is found by users: [`OF_USERS`].
    OfUsers,
    /// The relations, with what is kept of the events that others relate to.
    Relations,
    /// The events, with what is found by them.
    Events,
    /// What is kept of events whose relations are gone.
    Aggregations,
    /// What is found by its own number: how, and how it is deleted.
    Numbered(&'static Sql, &'static Sql),
}

/// The steps, by their numbers in jobs that may be older than this program: a new one comes last.
static STEPS: [Step; 19] = [
    Step::OfRoom(&PURGE_ALIASES),
    Step::OfRoom(&PURGE_INBOX),
    Step::OfRoom(&PURGE_OUTGOING),
    Step::Sharers,
    Step::OfUsers,
    Step::OfRoom(&PURGE_RECEIPTS),
    Step::OfRoom(&PURGE_WAITING_RECEIPTS),
    Step::OfRoom(&PURGE_GAPS),
    Step::OfRoom(&PURGE_THREAD_ENDS),
    Step::OfRoom(&PURGE_STATE_DELTAS),
    Step::OfRoom(&PURGE_DEVICE_LISTS),
    Step::OfRoom(&PURGE_WAITING_REDACTIONS),
    Step::Relations,
    Step::Events,
    Step::Aggregations,
    Step::Numbered(&PURGE_SNAPSHOTS_FIND, &PURGE_SNAPSHOTS),
    Step::Numbered(&PURGE_PIECES_FIND, &PURGE_PIECES),
    Step::OfRoom(&PURGE_MEMBER_WORDS),
    Step::OfRoom(&PURGE_SERVERS),
];

/// Of room ?1 and users after ?2 up to ?3, at most ?4 rows.
static OF_USERS: [&Sql; 7] = [
    &PURGE_MEMBERSHIPS,
    &PURGE_MEMBERSHIP_CHANGES,
    &PURGE_REMOTE_INVITES,
    &PURGE_ACCOUNT_DATA,
    &PURGE_EXCEPTIONS,
    &PURGE_FORK_MEMBERS,
    &PURGE_PARTICIPANTS,
];

/// What became of the wish to purge a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeAnswer {
    /// There is no such room.
    Unknown,
    /// So many users of this server are in it.
    Joined(i64),
    /// It is noted, or was before. So many users of this server leave the room first.
    Leaving(i64),
    /// Nobody of this server is in the room any longer, or was; other servers are sent its last events first.
    Sending,
    /// It is done next, or is being done.
    Deleting,
}

/// How far a purge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeProgress {
    /// The next piece is here.
    At(i64),
    /// Nothing is left; the room's id, if it wasn't so before.
    Ended(Option<String>),
}

/// Whether the room of this id is being purged.
///
/// # Errors
/// When the database cannot be read.
pub fn room_is_purged(tx: &mut Tx<'_>, room_id: &RoomId) -> Result<bool, Error> {
    let found = tx.query_one(&PURGE_READ, &[room_id.as_str().into()], |row| row.int(0))?;
    Ok(found.is_some())
}

/// Whether a room is to be purged: nobody comes in any longer.
///
/// # Errors
/// When the database cannot be read.
pub fn purge_is_noted(tx: &mut Tx<'_>, room: RoomNum) -> Result<bool, Error> {
    let found = tx.query_one(&PURGE_JOB, &[room.into()], |row| row.int(0))?;
    Ok(found.is_some())
}

/// At most `limit` users of this server who are in the room, after one.
///
/// # Errors
/// When the database cannot be read.
pub fn purge_joined(
    tx: &mut Tx<'_>,
    room: RoomNum,
    after: UserNum,
    limit: u32,
) -> Result<Vec<UserNum>, Error> {
    let params = [room.into(), after.into(), i64::from(limit).into()];
    tx.query_all(&PURGE_JOINED_PAGE, &params, |row| Ok(UserNum(row.int(0)?)))
}

/// Whether other servers are still to be sent events of the room.
///
/// # Errors
/// When the database cannot be read.
pub fn purge_is_unsent(tx: &mut Tx<'_>, room: RoomNum) -> Result<bool, Error> {
    let found = tx.query_one(&PURGE_UNSENT, &[room.into()], |row| row.int(0))?;
    Ok(found.is_some())
}

impl Store {
    /// Notes that a room is to be purged, unless it is already. Where users of this server are in it, only with `force`; then
    /// they leave it first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn purge_note(
        &self,
        tx: &mut Tx<'_>,
        room_id: &RoomId,
        force: bool,
        now_ms: i64,
    ) -> Result<PurgeAnswer, Error> {
        let room = tx.query_one(&PURGE_FIND, &[room_id.as_str().into()], |row| {
            Ok(RoomNum(row.int(0)?))
        })?;
        let Some(room) = room else {
            let is_begun = room_is_purged(tx, room_id)?;
            return Ok(if is_begun {
                PurgeAnswer::Deleting
            } else {
                PurgeAnswer::Unknown
            });
        };
        let joined = tx.query_one(&PURGE_JOINED, &[room.into()], |row| row.int(0))?;
        let joined = joined.unwrap_or(0);
        if !purge_is_noted(tx, room)? {
            if joined > 0 && !force {
                return Ok(PurgeAnswer::Joined(joined));
            }
            self.job_note(tx, Task::Purge(room), now_ms)?;
        }
        Ok(if joined > 0 {
            PurgeAnswer::Leaving(joined)
        } else if purge_is_unsent(tx, room)? {
            PurgeAnswer::Sending
        } else {
            PurgeAnswer::Deleting
        })
    }

    /// Begins a purge: from the commit on, nobody finds the room. False if somebody is in it or something has just happened
    /// there; a room that is gone already is no hindrance.
    ///
    /// # Errors
    /// When the database fails.
    pub fn purge_begin(&self, tx: &mut Tx<'_>, room: RoomNum) -> Result<bool, Error> {
        let row = tx.query_one(&PURGED_ROOM, &[room.into()], |row| {
            Ok((row.text(0)?.to_owned(), row.int(1)?, row.int(2)?))
        })?;
        let Some((room_id, append_count, head_hash)) = row else {
            return Ok(true);
        };
        if room_is_joined(tx, room)? {
            return Ok(false);
        }
        // Another node may have written since.
        let head = [room.into(), append_count.into(), head_hash.into()];
        if tx.execute(&PURGED_ROOM_DELETE, &head)? != 1 {
            return Ok(false);
        }
        tx.execute_one(&PURGE_INSERT, &[room.into(), room_id.as_str().into()])?;
        tx.execute(&PURGE_DETAILS, &[room.into()])?;
        tx.execute(&PURGE_BEHIND, &[room.into()])?;
        let store = self.clone();
        tx.after_commit(move || {
            store.rooms().purged(&room_id, room);
            store.timelines().forget(room);
        });
        Ok(true)
    }

    /// Deletes a piece of a room whose purge has begun. `progress` is [`PURGE_BEGUN`] at first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge_piece(&self, room: RoomNum, progress: i64) -> Result<PurgeProgress, Error> {
        let (number, at) = (progress / STEP, progress % STEP);
        let step = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let Some(step) = STEPS.get(step) else {
            let end = move |tx: &mut Tx<'_>| {
                tx.execute_returning(&PURGE_DELETE, &[room.into()], |row| {
                    Ok(row.text(0)?.to_owned())
                })
            };
            let write = Write::new("purge_end").relaxed();
            return Ok(PurgeProgress::Ended(self.db().write(write, end).await?));
        };
        let next = match *step {
            Step::Aggregations => self.purge_aggregations(room).await?,
            Step::Numbered(find, delete) => self.purge_numbered(room, at, (find, delete)).await?,
            Step::OfRoom(delete) => {
                let work = move |tx: &mut Tx<'_>| of_room(tx, room, delete);
                self.purge_write(work).await?
            }
            Step::Sharers => {
                let work = move |tx: &mut Tx<'_>| sharers(tx, room, at);
                self.purge_write(work).await?
            }
            Step::OfUsers => {
                let work = move |tx: &mut Tx<'_>| of_users(tx, room, at);
                self.purge_write(work).await?
            }
            Step::Relations => {
                let work = move |tx: &mut Tx<'_>| relations(tx, room);
                self.purge_write(work).await?
            }
            Step::Events => {
                let work = move |tx: &mut Tx<'_>| events(tx, room);
                self.purge_write(work).await?
            }
        };
        Ok(PurgeProgress::At(match next {
            Some(at) => number * STEP + at,
            None => (number + 1) * STEP,
        }))
    }

    /// If it is lost, a piece is done again.
    async fn purge_write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let write = Write::new("purge").relaxed();
        self.db().write(write, work).await
    }

    async fn purge_aggregations(&self, room: RoomNum) -> Result<Option<i64>, Error> {
        let find = move |tx: &mut Tx<'_>| {
            tx.query_all(
                &PURGE_AGGREGATIONS_FIND,
                &[room.into(), PIECE.into()],
                |row| Ok(row.text(0)?.to_owned()),
            )
        };
        let targets = self.db().scan("purge_aggregations", find).await?;
        if targets.is_empty() {
            return Ok(None);
        }
        self.purge_write(move |tx| aggregations(tx, room, targets.iter().map(String::as_str)))
            .await?;
        Ok(Some(0))
    }

    async fn purge_numbered(
        &self,
        room: RoomNum,
        after: i64,
        (find, delete): (&'static Sql, &'static Sql),
    ) -> Result<Option<i64>, Error> {
        let read = move |tx: &mut Tx<'_>| {
            let params = [room.into(), after.into(), PIECE.into()];
            tx.query_all(find, &params, |row| row.int(0))
        };
        let numbers = self.db().scan("purge_numbered", read).await?;
        let last = numbers.last().copied();
        if last.is_some() {
            let work = move |tx: &mut Tx<'_>| tx.execute(delete, &[Value::Ints(&numbers)]);
            self.purge_write(work).await?;
        }
        Ok(last)
    }
}

fn of_room(tx: &mut Tx<'_>, room: RoomNum, delete: &'static Sql) -> Result<Option<i64>, Error> {
    let deleted = tx.execute(delete, &[room.into(), PIECE.into()])?;
    let is_full = i64::try_from(deleted).is_ok_and(|deleted| deleted >= PIECE);
    Ok(is_full.then_some(0))
}

/// The last of the next users after one, and whether there may be others.
fn next_users(tx: &mut Tx<'_>, after: i64) -> Result<Option<(i64, bool)>, Error> {
    let next = tx.query_one(&PURGE_USERS, &[after.into(), PIECE.into()], |row| {
        Ok((row.opt_int(0)?, row.int(1)?))
    })?;
    Ok(next.and_then(|(upto, count)| Some((upto?, count >= PIECE))))
}

/// Notes those of the next users after one who were in the room, if another server ever was.
fn sharers(tx: &mut Tx<'_>, room: RoomNum, after: i64) -> Result<Option<i64>, Error> {
    let is_shared = tx.query_one(&PURGE_SHARED, &[room.into()], |row| row.int(0))?;
    let Some((upto, has_more)) = next_users(tx, after)?.filter(|_| is_shared.is_some()) else {
        return Ok(None);
    };
    elsewhere_of_room(tx, room, (after, upto))?;
    Ok(has_more.then_some(upto))
}

/// What the next users after one have of the room.
fn of_users(tx: &mut Tx<'_>, room: RoomNum, after: i64) -> Result<Option<i64>, Error> {
    let Some((upto, has_more)) = next_users(tx, after)? else {
        return Ok(None);
    };
    let mut left = PIECE;
    for delete in OF_USERS {
        let params = [room.into(), after.into(), upto.into(), left.into()];
        left -= i64::try_from(tx.execute(delete, &params)?).unwrap_or(left);
        if left <= 0 {
            return Ok(Some(after));
        }
    }
    Ok(has_more.then_some(upto))
}

fn relations(tx: &mut Tx<'_>, room: RoomNum) -> Result<Option<i64>, Error> {
    let params = [room.into(), (PIECE / 2).into()];
    let found = tx.query_all(&PURGE_RELATIONS_FIND, &params, |row| {
        Ok((row.text(0)?.to_owned(), row.int(1)?, row.int(2)?))
    })?;
    let Some((_, major, minor)) = found.last() else {
        return Ok(None);
    };
    aggregations(tx, room, found.iter().map(|(target, ..)| &**target))?;
    let upto = [room.into(), (*major).into(), (*minor).into()];
    tx.execute(&PURGE_RELATIONS, &upto)?;
    Ok(Some(0))
}

fn aggregations<'a>(
    tx: &mut Tx<'_>,
    room: RoomNum,
    targets: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    let targets: Vec<&str> = targets.collect();
    let params = [room.into(), Value::Texts(&targets)];
    tx.execute(&PURGE_AGGREGATIONS, &params).map(drop)
}

fn events(tx: &mut Tx<'_>, room: RoomNum) -> Result<Option<i64>, Error> {
    let (mut numbers, mut ids) = (Vec::new(), Vec::new());
    let (mut places, mut devices) = (Vec::new(), Vec::new());
    tx.query(
        &PURGE_EVENTS_FIND,
        &[room.into(), EVENTS.into()],
        &mut |row| {
            numbers.push(row.int(0)?);
            ids.push(row.text(1)?.to_owned());
            places.extend(row.opt_int(2)?);
            devices.extend(row.opt_int(3)?);
            Ok(())
        },
    )?;
    if numbers.is_empty() {
        return Ok(None);
    }
    let numbers = Value::Ints(&numbers);
    // Very many may cite one: then the events have another turn.
    let edges = tx.execute(&PURGE_AUTH_EDGES, &[numbers, PIECE.into()])?;
    if i64::try_from(edges).is_ok_and(|edges| edges > EVENTS) {
        return Ok(Some(0));
    }
    devices.sort_unstable();
    devices.dedup();
    tx.execute(&PURGE_TRANSACTIONS, &[Value::Ints(&devices), numbers])?;
    tx.execute(&PURGE_DESTINATION_EVENTS, &[Value::Ints(&places)])?;
    aggregations(tx, room, ids.iter().map(String::as_str))?;
    tx.execute(&PURGE_EVENTS, &[numbers])?;
    Ok(Some(0))
}
