//! What local users are in rooms that this server is not in: invited, knocking, or no longer either.

use ruma_common::{OwnedServerName, RoomId};
use starling_db::{Error, Positions, Tx, Value};
use starling_events::{Pdu, RoomVersion};

use crate::events::Status;
use crate::jobs::Task;
use crate::memberships::{Membership, membership_forget, membership_read, membership_set};
use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::outliers::Outlier;
use crate::room_details::details_insert;
use crate::store::Store;

starling_db::statements! {
    /// A room that is known by its id and version only, unless one of this id is being purged.
    ROOM_KNOW = "INSERT INTO rooms (room_id, room_version, append_count, head_hash, last_position, snapshot_num,
            extremities)
        SELECT CAST(?1 AS TEXT), CAST(?2 AS TEXT), 0, 0, 0, 0, CAST(?3 AS {bytes})
            WHERE NOT EXISTS (SELECT 1 FROM purges WHERE room_id = CAST(?1 AS TEXT))
        ON CONFLICT (room_id) DO NOTHING RETURNING room_num";
    /// A room and its version.
    ROOM_KNOWN = "SELECT room_num, room_version FROM rooms WHERE room_id = ?1";
    /// Corrects the version of a room that nothing is here of.
    ROOM_CORRECT = "UPDATE rooms SET room_version = ?2 WHERE room_id = ?1 AND append_count = 0";
    /// Forgets the events of a room that nothing is here of: they were read by the rules of another version.
    ROOM_EVENTS_FORGET = "DELETE FROM events WHERE place_major IS NULL AND room_num IN
        (SELECT room_num FROM rooms WHERE room_id = ?1 AND append_count = 0)";
    /// Whether a user of this server is in a room.
    ROOM_JOINED = "SELECT 1 FROM memberships WHERE room_num = ?1 AND membership = 2 LIMIT 1";
    /// Those of some rooms that users of this server are in.
    ROOMS_JOINED = "SELECT rooms.room_num FROM rooms WHERE rooms.room_id IN {texts ?1}
        AND EXISTS (SELECT 1 FROM memberships WHERE memberships.room_num = rooms.room_num AND memberships.membership = 2)
        ORDER BY rooms.room_num";
    /// An invite or knock, in place of an earlier one.
    REMOTE_INVITE_SET = "INSERT INTO remote_invites (user_num, room_num, event_num, server, state)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (user_num, room_num) DO UPDATE SET event_num = excluded.event_num, server = excluded.server,
            state = excluded.state";
    /// An invite or knock.
    REMOTE_INVITE_READ = "SELECT event_num, server, state FROM remote_invites WHERE user_num = ?1 AND room_num = ?2";
    /// The end of an invite or knock.
    REMOTE_INVITE_DELETE = "DELETE FROM remote_invites WHERE user_num = ?1 AND room_num = ?2";
}

/// An invite to a room of other servers, or a knock at one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteInvite {
    /// The member event.
    pub event: EventNum,
    /// The server that gave it.
    pub server: OwnedServerName,
    /// Events of the room's state, stripped: JSON objects separated by commas.
    pub state: Box<[u8]>,
}

/// What a local user becomes in a room that this server is not in.
#[derive(Debug, Clone)]
pub struct RemoteMembership {
    /// The user.
    pub user: UserNum,
    /// What they become.
    pub membership: Membership,
    /// The member event.
    pub event: Pdu,
    /// For an invite or a knock: who gave it, and what is shown of the room.
    pub shown: Option<(OwnedServerName, Box<[u8]>)>,
    /// Whether who leaves forgets the room at once.
    pub forgets_left: bool,
    /// For a leave that no other server knows: when a job begins that tells them, in milliseconds since 1970.
    pub untold_at: Option<i64>,
}

/// The number of a room of this id; a row is made for one that isn't known. `None` when it is known with another version, or
/// is being purged.
///
/// # Errors
/// When the database fails.
pub fn room_know(
    tx: &mut Tx<'_>,
    room_id: &RoomId,
    version: RoomVersion,
) -> Result<Option<RoomNum>, Error> {
    let params = [
        room_id.as_str().into(),
        version.as_str().into(),
        Value::Bytes(&[]),
    ];
    let made = tx.execute_returning(&ROOM_KNOW, &params, |row| Ok(RoomNum(row.int(0)?)))?;
    if let Some(room) = made {
        details_insert(tx, room, false)?;
        return Ok(Some(room));
    }
    let known = tx.query_one(&ROOM_KNOWN, &[room_id.as_str().into()], |row| {
        let is_same = row.text(1)? == version.as_str();
        Ok(is_same.then_some(RoomNum(row.int(0)?)))
    })?;
    Ok(known.flatten())
}

/// As [`room_know`], of a room whose version is known for certain: if nothing of it was ever here but what invites said, and
/// they said otherwise, that is forgotten.
///
/// # Errors
/// When the database fails.
pub fn room_adopt(
    tx: &mut Tx<'_>,
    room_id: &RoomId,
    version: RoomVersion,
) -> Result<Option<RoomNum>, Error> {
    if let Some(room) = room_know(tx, room_id, version)? {
        return Ok(Some(room));
    }
    let params = [room_id.as_str().into(), version.as_str().into()];
    tx.execute(&ROOM_CORRECT, &params)?;
    tx.execute(&ROOM_EVENTS_FORGET, &[room_id.as_str().into()])?;
    room_know(tx, room_id, version)
}

/// Whether a user of this server is in the room.
///
/// # Errors
/// When the database cannot be read.
pub fn room_is_joined(tx: &mut Tx<'_>, room: RoomNum) -> Result<bool, Error> {
    let found = tx.query_one(&ROOM_JOINED, &[room.into()], |row| row.int(0))?;
    Ok(found.is_some())
}

/// Those of the rooms with these ids that users of this server are in.
///
/// # Errors
/// When the database cannot be read.
pub fn rooms_joined(tx: &mut Tx<'_>, room_ids: &[String]) -> Result<Vec<RoomNum>, Error> {
    let room_ids: Vec<&str> = room_ids.iter().map(String::as_str).collect();
    tx.query_all(&ROOMS_JOINED, &[Value::Texts(&room_ids)], |row| {
        Ok(RoomNum(row.int(0)?))
    })
}

/// The user's invite to the room, or knock at it, if this server is not in it.
///
/// # Errors
/// When the database cannot be read.
pub fn remote_invite_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
) -> Result<Option<RemoteInvite>, Error> {
    tx.query_one(&REMOTE_INVITE_READ, &[user.into(), room.into()], |row| {
        let server = OwnedServerName::try_from(row.text(1)?);
        Ok(RemoteInvite {
            event: EventNum(row.int(0)?),
            server: server.map_err(|_| Error::Damaged("an invite's server".to_owned()))?,
            state: row.bytes(2)?.into(),
        })
    })
}

/// The invite or knock is one no longer.
///
/// # Errors
/// When the database fails.
pub fn remote_invite_delete(tx: &mut Tx<'_>, user: UserNum, room: RoomNum) -> Result<(), Error> {
    tx.execute(&REMOTE_INVITE_DELETE, &[user.into(), room.into()])
        .map(drop)
}

impl Store {
    /// Notes what a user becomes in a room that this server is not in: the member event, which is in no timeline, and the
    /// membership at a position of its own. False when nothing has changed: it was noted before, or there is an event of
    /// this id in another room.
    ///
    /// # Errors
    /// When the database fails.
    pub fn remote_membership_set(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        room: RoomNum,
        new: &RemoteMembership,
    ) -> Result<bool, Error> {
        let (user, membership) = (new.user, new.membership);
        let Some(event) = self.outlier_know(tx, positions, room, &new.event)? else {
            return Ok(false);
        };
        let before = membership_read(tx, user, room)?;
        if before.is_some_and(|row| (row.event, row.membership) == (event, membership)) {
            return Ok(false);
        }
        membership_set(tx, positions, user, (room, membership, event))?;
        match &new.shown {
            Some((server, state)) => {
                let params = [
                    user.into(),
                    room.into(),
                    event.into(),
                    server.as_str().into(),
                    Value::Bytes(state),
                ];
                tx.execute_one(&REMOTE_INVITE_SET, &params)?;
            }
            None => remote_invite_delete(tx, user, room)?,
        }
        if let Some(now_ms) = new.untold_at {
            self.job_note(tx, Task::UntoldLeave(event), now_ms)?;
        }
        if new.forgets_left && matches!(membership, Membership::Leave | Membership::Ban) {
            membership_forget(tx, user, room)?;
        }
        Ok(true)
    }

    /// The number of an event that is in no timeline; it is stored if it isn't there. `None` when its id is that of an
    /// event of another room.
    fn outlier_know(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        room: RoomNum,
        pdu: &Pdu,
    ) -> Result<Option<EventNum>, Error> {
        if let Some(known) = self.event_by_id(tx, pdu.event_id())? {
            return Ok((known.room == room).then_some(known.num));
        }
        let outlier = Outlier {
            pdu: pdu.clone(),
            status: Status::Accepted,
        };
        let stored = self.outliers_insert(tx, positions, room, &[outlier])?;
        Ok(stored.get(pdu.event_id()).copied())
    }
}
