//! Up to where users have read: the last receipt of each user, room, kind and thread.
//! <https://spec.matrix.org/v1.19/client-server-api/#receipts>
//!
//! A receipt is a current value at the position of its last change. One for an event that isn't in the room's timeline
//! waits in a table of its own until the event is appended.

use ruma_common::{EventId, OwnedEventId, OwnedUserId};
use starling_db::{Error, Positions, Row, Tx, Value};

use crate::events::Event;
use crate::numbers::{RoomNum, UserNum};
use crate::store::Store;
use crate::tokens::Place;
use crate::unread::counts::MOST_THREADS;
use crate::unread::note::exceptions_delete_read;

starling_db::statements! {
    /// One receipt.
    RECEIPT_READ = "SELECT kind, thread, event_id, place_major, place_minor FROM receipts
        WHERE user_num = ?1 AND room_num = ?2 AND kind = ?3 AND thread = ?4";
    /// Another event for a receipt.
    RECEIPT_SET = "INSERT INTO receipts (user_num, room_num, kind, thread, event_id, place_major, place_minor, sent_at,
            position)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (user_num, room_num, kind, thread) DO UPDATE SET event_id = excluded.event_id,
            place_major = excluded.place_major, place_minor = excluded.place_minor, sent_at = excluded.sent_at,
            position = excluded.position";
    /// Drops a user's receipts of threads, but for those that lie furthest in the room's order.
    RECEIPTS_CAP = "DELETE FROM receipts WHERE user_num = ?1 AND room_num = ?2 AND kind = ?3
        AND thread NOT IN (CAST('' AS {bytes}), CAST('main' AS {bytes}))
        AND (place_major, place_minor, thread) <= (SELECT place_major, place_minor, thread FROM receipts
            WHERE user_num = ?1 AND room_num = ?2 AND kind = ?3
                AND thread NOT IN (CAST('' AS {bytes}), CAST('main' AS {bytes}))
            ORDER BY place_major DESC, place_minor DESC, thread DESC LIMIT 1 OFFSET ?4)";
    /// All receipts of a user in some rooms. A join, since SQLite makes a table of what stands after `IN`.
    RECEIPTS_OF = "SELECT receipts.kind, receipts.thread, receipts.event_id, receipts.place_major, receipts.place_minor,
            receipts.room_num
        FROM {ints ?2} AS wanted CROSS JOIN receipts
        WHERE receipts.user_num = ?1 AND receipts.room_num = wanted.value";
    /// What changed in some rooms, with the names of those who have read; what is private only of one user.
    RECEIPTS_CHANGED = "SELECT receipts.room_num, receipts.kind, receipts.thread, receipts.event_id, receipts.sent_at,
            users.user_id
        FROM {ints ?1} AS wanted CROSS JOIN receipts CROSS JOIN users
        WHERE receipts.room_num = wanted.value AND receipts.position > ?2 AND receipts.position <= ?3
            AND (receipts.kind = 1 OR receipts.user_num = ?4) AND users.user_num = receipts.user_num";
    /// A user's joined rooms in which somebody has read since a position.
    RECEIPTS_ROOMS_CHANGED = "SELECT memberships.room_num FROM memberships
        WHERE memberships.user_num = ?1 AND memberships.membership = 2 AND EXISTS (SELECT 1 FROM receipts
            WHERE receipts.room_num = memberships.room_num AND receipts.position > ?2)
        ORDER BY memberships.room_num";
    /// The rooms in which a user has read since a position.
    RECEIPTS_OWN_ROOMS = "SELECT DISTINCT room_num FROM receipts WHERE user_num = ?1 AND position > ?2";
    /// Keeps a receipt for an event that isn't here.
    WAITING_RECEIPT_SET = "INSERT INTO waiting_receipts (room_num, user_num, kind, thread, event_id, sent_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (room_num, user_num, kind, thread) DO UPDATE SET event_id = excluded.event_id,
            sent_at = excluded.sent_at";
    /// Drops all but a user's newest in a room.
    WAITING_RECEIPTS_CAP = "DELETE FROM waiting_receipts WHERE room_num = ?1 AND user_num = ?2
        AND (kind, thread) NOT IN (SELECT kind, thread FROM waiting_receipts WHERE room_num = ?1 AND user_num = ?2
            ORDER BY sent_at DESC, kind, thread LIMIT 16)";
    /// How many of a user wait in other rooms.
    WAITING_RECEIPTS_ELSEWHERE = "SELECT COUNT(*) FROM waiting_receipts WHERE user_num = ?1 AND room_num <> ?2";
    /// Drops all but the newest in a room.
    WAITING_RECEIPTS_CAP_OF_ROOM = "DELETE FROM waiting_receipts WHERE room_num = ?1 AND sent_at <= (
            SELECT sent_at FROM waiting_receipts WHERE room_num = ?1 ORDER BY sent_at DESC LIMIT 1 OFFSET ?2)";
    /// An append must look for those of its event.
    WAITING_RECEIPTS_NOTE = "UPDATE rooms SET has_waiting_receipts = 1 WHERE room_num = ?1";
    /// Those that wait in a room.
    WAITING_RECEIPTS_FOR = "SELECT user_num, kind, thread, sent_at FROM waiting_receipts
        WHERE room_num = ?1 AND event_id = ?2";
    /// Those of an event that has come.
    WAITING_RECEIPTS_DELETE = "DELETE FROM waiting_receipts WHERE room_num = ?1 AND event_id = ?2";
    /// An append needn't look any longer.
    WAITING_RECEIPTS_NOTE_NONE = "UPDATE rooms SET has_waiting_receipts = 0 WHERE room_num = ?1
        AND NOT EXISTS (SELECT 1 FROM waiting_receipts WHERE waiting_receipts.room_num = ?1)";
    /// The rooms of those for whose event nobody waits any longer.
    WAITING_RECEIPTS_OLD_ROOMS = "SELECT DISTINCT old.room_num FROM (
            SELECT room_num FROM waiting_receipts WHERE sent_at < ?1 ORDER BY sent_at LIMIT ?2
        ) AS old";
    /// Those of some rooms for whose event nobody waits any longer.
    WAITING_RECEIPTS_SWEEP = "DELETE FROM waiting_receipts WHERE room_num IN {ints ?1} AND sent_at IN
        (SELECT sent_at FROM waiting_receipts WHERE sent_at < ?2 ORDER BY sent_at LIMIT ?3)";
}

/// When so many receipts of one user wait in other rooms, no more do.
const MOST_WAITING_OF_USER: i64 = 100;

/// So many receipts wait in one room.
const MOST_WAITING_IN_ROOM: i64 = 1_000;

/// What a receipt says. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReceiptKind {
    /// `m.read`: told to everybody in the room.
    Read = 1,
    /// `m.read.private`: told to the user's own devices.
    Private = 2,
}

impl ReceiptKind {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "m.read",
            Self::Private => "m.read.private",
        }
    }

    fn from_code(code: i64) -> Result<Self, Error> {
        match code {
            1 => Ok(Self::Read),
            2 => Ok(Self::Private),
            _ => Err(Error::Damaged(format!(
                "there is no receipt of kind {code}"
            ))),
        }
    }
}

/// What of a room a receipt is about.
/// <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReceiptThread {
    /// All of it: the receipt is unthreaded.
    Unthreaded,
    /// What is in no thread.
    Main,
    /// The thread with this root.
    Root(OwnedEventId),
}

impl ReceiptThread {
    /// The `thread_id`, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Unthreaded => None,
            Self::Main => Some("main"),
            Self::Root(root) => Some(root.as_str()),
        }
    }

    fn stored(&self) -> &[u8] {
        self.id().unwrap_or_default().as_bytes()
    }

    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "" => Self::Unthreaded,
            "main" => Self::Main,
            root => {
                let root = OwnedEventId::try_from(root);
                Self::Root(root.map_err(|_| Error::Damaged("the thread of a receipt".to_owned()))?)
            }
        })
    }
}

/// Which of a user's receipts in a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptKey {
    /// What it says.
    pub kind: ReceiptKind,
    /// What of the room it is about.
    pub thread: ReceiptThread,
}

/// Up to where a user has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadUpTo {
    /// Which receipt says so.
    pub key: ReceiptKey,
    /// The last event that was read.
    pub event_id: OwnedEventId,
    /// The event's place in the room's order. A live event's `major` is its position.
    pub place: Place,
}

/// A receipt as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which one.
    pub key: ReceiptKey,
    /// Who has read.
    pub user_id: OwnedUserId,
    /// Up to which event.
    pub event_id: OwnedEventId,
    /// When it was sent: milliseconds since 1970.
    pub sent_at: i64,
}

/// Whose receipt it is, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Who has read.
    pub user: UserNum,
    /// In which room.
    pub room: RoomNum,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

pub(crate) fn event_id(text: &str) -> Result<OwnedEventId, Error> {
    OwnedEventId::try_from(text).map_err(|_| Error::Damaged("the event of a receipt".to_owned()))
}

fn read(row: &dyn Row) -> Result<ReadUpTo, Error> {
    Ok(ReadUpTo {
        key: ReceiptKey {
            kind: ReceiptKind::from_code(row.int(0)?)?,
            thread: ReceiptThread::read(row.utf8(1)?)?,
        },
        event_id: event_id(row.text(2)?)?,
        place: Place {
            major: row.int(3)?,
            minor: row.int(4)?,
        },
    })
}

/// One receipt of a user.
///
/// # Errors
/// When the database cannot be read.
pub fn receipt_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
    key: &ReceiptKey,
) -> Result<Option<ReadUpTo>, Error> {
    let params = [
        user.into(),
        room.into(),
        (key.kind as i64).into(),
        key.thread.stored().into(),
    ];
    tx.query_one(&RECEIPT_READ, &params, read)
}

/// All receipts of a user in a room: one for each kind and thread, in no order.
///
/// # Errors
/// When the database cannot be read.
pub fn receipts_of(tx: &mut Tx<'_>, user: UserNum, room: RoomNum) -> Result<Vec<ReadUpTo>, Error> {
    let all = receipts_of_rooms(tx, user, &[room])?;
    Ok(all.into_iter().map(|(_, read)| read).collect())
}

/// As [`receipts_of`], with one query for some rooms.
///
/// # Errors
/// When the database cannot be read.
pub fn receipts_of_rooms(
    tx: &mut Tx<'_>,
    user: UserNum,
    rooms: &[RoomNum],
) -> Result<Vec<(RoomNum, ReadUpTo)>, Error> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    tx.query_all(&RECEIPTS_OF, &[user.into(), Value::Ints(&rooms)], |row| {
        Ok((RoomNum(row.int(5)?), read(row)?))
    })
}

/// What changed in `rooms` after `since` up to `upto`, in no order: the public receipts of all, and the private ones of
/// `user`. What has changed again since `upto` isn't among it.
///
/// # Errors
/// When the database cannot be read.
pub fn receipts_changed(
    tx: &mut Tx<'_>,
    user: UserNum,
    rooms: &[RoomNum],
    (since, upto): (i64, i64),
) -> Result<Vec<(RoomNum, Receipt)>, Error> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [Value::Ints(&rooms), since.into(), upto.into(), user.into()];
    tx.query_all(&RECEIPTS_CHANGED, &params, |row| {
        let user_id = OwnedUserId::try_from(row.text(5)?);
        let receipt = Receipt {
            key: ReceiptKey {
                kind: ReceiptKind::from_code(row.int(1)?)?,
                thread: ReceiptThread::read(row.utf8(2)?)?,
            },
            event_id: event_id(row.text(3)?)?,
            sent_at: row.int(4)?,
            user_id: user_id.map_err(|_| Error::Damaged("the user of a receipt".to_owned()))?,
        };
        Ok((RoomNum(row.int(0)?), receipt))
    })
}

/// The joined rooms of `user` in which somebody has read after `since`.
///
/// # Errors
/// When the database cannot be read.
pub fn receipts_rooms_changed(
    tx: &mut Tx<'_>,
    user: UserNum,
    since: i64,
) -> Result<Vec<RoomNum>, Error> {
    tx.query_all(
        &RECEIPTS_ROOMS_CHANGED,
        &[user.into(), since.into()],
        |row| Ok(RoomNum(row.int(0)?)),
    )
}

/// The rooms in which `user` has read after `since`.
///
/// # Errors
/// When the database cannot be read.
pub fn receipts_own_rooms(
    tx: &mut Tx<'_>,
    user: UserNum,
    since: i64,
) -> Result<Vec<RoomNum>, Error> {
    tx.query_all(&RECEIPTS_OWN_ROOMS, &[user.into(), since.into()], |row| {
        Ok(RoomNum(row.int(0)?))
    })
}

/// Keeps a receipt for an event that isn't in the timeline, until it comes; of one user and room the newest 16, and no
/// more than some of a room. Of a user of whom many wait elsewhere it isn't kept: rows of other rooms are not touched,
/// since an append there may hold them while it waits for this write. The write locks the user, and the room, so that the
/// event is appended either before (and then it is found) or after.
///
/// # Errors
/// When the database fails.
pub fn receipt_wait(
    tx: &mut Tx<'_>,
    sent: Sent,
    key: &ReceiptKey,
    event: &EventId,
) -> Result<(), Error> {
    let of_user = [sent.user.into(), sent.room.into()];
    let elsewhere = tx.query_one(&WAITING_RECEIPTS_ELSEWHERE, &of_user, |row| row.int(0))?;
    if elsewhere.is_some_and(|count| count >= MOST_WAITING_OF_USER) {
        return Ok(());
    }
    let params = [
        sent.room.into(),
        sent.user.into(),
        (key.kind as i64).into(),
        key.thread.stored().into(),
        event.as_str().into(),
        sent.at_ms.into(),
    ];
    tx.execute_one(&WAITING_RECEIPT_SET, &params)?;
    tx.execute(&WAITING_RECEIPTS_CAP, &[sent.room.into(), sent.user.into()])?;
    let of_room = [sent.room.into(), MOST_WAITING_IN_ROOM.into()];
    tx.execute(&WAITING_RECEIPTS_CAP_OF_ROOM, &of_room)?;
    tx.execute_one(&WAITING_RECEIPTS_NOTE, &[sent.room.into()])
}

impl Store {
    /// Sets a receipt, in the second step of a transaction, at the next position. One that would go backwards, or stay where
    /// it is, changes nothing, and `None` is returned.
    ///
    /// # Errors
    /// When the database fails.
    pub fn receipt_advance(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        sent: Sent,
        key: &ReceiptKey,
        (event, place): (&EventId, Place),
    ) -> Result<Option<i64>, Error> {
        let before = receipt_read(tx, sent.user, sent.room, key)?;
        if before.as_ref().is_some_and(|before| before.place >= place) {
            return Ok(None);
        }
        let position = positions.give()?;
        let params = [
            sent.user.into(),
            sent.room.into(),
            (key.kind as i64).into(),
            key.thread.stored().into(),
            event.as_str().into(),
            place.major.into(),
            place.minor.into(),
            sent.at_ms.into(),
            position.into(),
        ];
        tx.execute_one(&RECEIPT_SET, &params)?;
        if before.is_none() && matches!(key.thread, ReceiptThread::Root(_)) {
            let most = MOST_THREADS.into();
            let all = [
                sent.user.into(),
                sent.room.into(),
                (key.kind as i64).into(),
                most,
            ];
            tx.execute(&RECEIPTS_CAP, &all)?;
        }
        let read = ReadUpTo {
            key: key.clone(),
            event_id: event.to_owned(),
            place,
        };
        exceptions_delete_read(tx, sent.user, sent.room, &read)?;
        self.unread_changed_after_commit(tx, sent.user, sent.room);
        if key.kind == ReceiptKind::Read {
            self.receipt_goes_out(tx, sent.room, position);
        }
        Ok(Some(position))
    }

    /// Applies the receipts that waited for `event`, which is being appended to a room that may have some. Returns whose
    /// they are.
    pub(crate) fn receipts_arrive(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        event: &Event,
    ) -> Result<Vec<UserNum>, Error> {
        let id = event.pdu.event_id();
        let params = [event.room.into(), id.as_str().into()];
        let waiting = tx.query_all(&WAITING_RECEIPTS_FOR, &params, |row| {
            let sent = Sent {
                user: UserNum(row.int(0)?),
                room: event.room,
                at_ms: row.int(3)?,
            };
            let key = ReceiptKey {
                kind: ReceiptKind::from_code(row.int(1)?)?,
                thread: ReceiptThread::read(row.utf8(2)?)?,
            };
            Ok((sent, key))
        })?;
        let mut readers = Vec::new();
        for (sent, key) in &waiting {
            let fits = self.receipt_fits(tx, event, &key.thread)?;
            if let Some(place) = event.place.filter(|_| fits)
                && self
                    .receipt_advance(tx, positions, *sent, key, (id, place))?
                    .is_some()
            {
                readers.push(sent.user);
            }
        }
        if !waiting.is_empty() {
            tx.execute(&WAITING_RECEIPTS_DELETE, &params)?;
        }
        tx.execute(&WAITING_RECEIPTS_NOTE_NONE, &[event.room.into()])?;
        Ok(readers)
    }
}

/// The rooms of the `most` oldest receipts that have waited since before `before_ms`.
///
/// # Errors
/// When the database cannot be read.
pub fn waiting_receipts_old_rooms(
    tx: &mut Tx<'_>,
    before_ms: i64,
    most: i64,
) -> Result<Vec<RoomNum>, Error> {
    let params = [before_ms.into(), most.into()];
    tx.query_all(&WAITING_RECEIPTS_OLD_ROOMS, &params, |row| {
        Ok(RoomNum(row.int(0)?))
    })
}

/// Forgets those of about the `most` oldest receipts that are in `rooms`, which the write locks, and have waited since
/// before `before_ms`; how many.
///
/// # Errors
/// When the database fails.
pub fn waiting_receipts_sweep(
    tx: &mut Tx<'_>,
    rooms: &[RoomNum],
    before_ms: i64,
    most: i64,
) -> Result<u64, Error> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [Value::Ints(&rooms), before_ms.into(), most.into()];
    tx.execute(&WAITING_RECEIPTS_SWEEP, &params)
}
