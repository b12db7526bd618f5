//! What local users are in which rooms: now, and one row for each change.

use std::collections::HashSet;

use starling_db::{Error, Positions, Row, Tx, Value};

use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::tokens::Place;

starling_db::statements! {
    /// Sets a membership. A forgotten room is remembered again by who may come in, not by who is kept out or let off.
    MEMBERSHIP_SET = "INSERT INTO memberships (user_num, room_num, membership, event_num, position, forgotten)
        VALUES (?1, ?2, ?3, ?4, ?5, 0)
        ON CONFLICT (user_num, room_num) DO UPDATE SET membership = excluded.membership,
            event_num = excluded.event_num, position = excluded.position,
            forgotten = CASE WHEN excluded.membership IN (4, 5) THEN memberships.forgotten ELSE 0 END";
    /// Notes a change of a membership.
    MEMBERSHIP_CHANGE_INSERT = "INSERT INTO membership_changes (position, user_num, room_num, membership, event_num)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    /// Notes where a member event stands that has come into the timeline later.
    MEMBERSHIP_CHANGE_PLACE = "UPDATE membership_changes SET place_major = ?4, place_minor = ?5
        WHERE user_num = ?1 AND room_num = ?2 AND event_num = ?3";
    /// All memberships of a user.
    MEMBERSHIP_LIST = "SELECT room_num, membership, event_num, position, forgotten FROM memberships
        WHERE user_num = ?1 ORDER BY room_num";
    /// Some memberships of a user.
    MEMBERSHIP_PAGE = "SELECT room_num, membership, event_num, position, forgotten FROM memberships
        WHERE user_num = ?1 AND room_num > ?2 ORDER BY room_num LIMIT ?3";
    /// Some of the guests in a room.
    GUESTS_IN_ROOM = "SELECT m.user_num FROM accounts a JOIN memberships m ON m.user_num = a.user_num
        WHERE a.kind = 1 AND a.user_num > ?3 AND m.room_num = ?1 AND m.membership = ?2 ORDER BY a.user_num LIMIT ?4";
    /// Some of the users who are joined to a room.
    JOINED_IN_ROOM = "SELECT user_num FROM memberships WHERE room_num = ?1 AND membership = 2 LIMIT ?2";
    /// One membership.
    MEMBERSHIP_READ = "SELECT room_num, membership, event_num, position, forgotten FROM memberships
        WHERE user_num = ?1 AND room_num = ?2";
    /// A user's changes in a stretch of the log.
    MEMBERSHIP_CHANGES = "SELECT room_num, membership, event_num, position FROM membership_changes
        WHERE user_num = ?1 AND position > ?2 AND position <= ?3 ORDER BY position";
    /// The last change of a user's membership in each of some rooms up to a position.
    MEMBERSHIPS_AT = "SELECT changes.room_num, changes.membership, changes.event_num, changes.position
        FROM {ints ?2} AS wanted CROSS JOIN membership_changes AS changes
        WHERE changes.user_num = ?1 AND changes.room_num = wanted.value AND changes.position = (
            SELECT MAX(earlier.position) FROM membership_changes AS earlier
            WHERE earlier.user_num = ?1 AND earlier.room_num = wanted.value AND earlier.position <= ?3)";
    /// All changes of a user's membership in a room.
    MEMBERSHIP_HISTORY = "SELECT room_num, membership, event_num, position FROM membership_changes
        WHERE user_num = ?1 AND room_num = ?2 ORDER BY position";
    /// Whether a user ever joined a room.
    WAS_JOINED = "SELECT 1 FROM membership_changes WHERE user_num = ?1 AND room_num = ?2 AND membership = 2 LIMIT 1";
    /// Forgets a room that the user has left.
    MEMBERSHIP_FORGET = "UPDATE memberships SET forgotten = 1 WHERE user_num = ?1 AND room_num = ?2
        AND membership IN (4, 5)";
    /// Rooms that two users are joined to, in the order in which the first became so.
    MUTUAL_ROOMS = "SELECT rooms.room_id, own.position FROM memberships AS own
        JOIN memberships AS theirs ON theirs.room_num = own.room_num AND theirs.user_num = ?2
        JOIN rooms ON rooms.room_num = own.room_num
        WHERE own.user_num = ?1 AND own.membership = 2 AND theirs.membership = 2 AND own.position > ?3
        ORDER BY own.position LIMIT ?4";
    /// How many these are.
    MUTUAL_ROOMS_COUNT = "SELECT COUNT(*) FROM memberships AS own
        JOIN memberships AS theirs ON theirs.room_num = own.room_num AND theirs.user_num = ?2
        WHERE own.user_num = ?1 AND own.membership = 2 AND theirs.membership = 2";
    /// Those of some rooms that a user is joined to.
    JOINED_OF = "SELECT rooms.room_id FROM rooms
        JOIN memberships ON memberships.room_num = rooms.room_num AND memberships.user_num = ?1
        WHERE memberships.membership = 2 AND rooms.room_id IN {texts ?2}";
    /// Which of some rooms' state is known here, and what a user is in each. A join, since SQLite makes a table of what
    /// stands after `IN`.
    MEMBERSHIP_BY_ROOM_ID = "SELECT memberships.membership
        FROM {texts ?2} AS wanted CROSS JOIN rooms
        LEFT JOIN memberships ON memberships.room_num = rooms.room_num AND memberships.user_num = ?1
        WHERE rooms.room_id = wanted.value AND rooms.append_count > 0";
    /// The joined rooms of a user in which something happened in a stretch of the log.
    ROOMS_CHANGED = "SELECT rooms.room_num FROM memberships JOIN rooms ON rooms.room_num = memberships.room_num
        WHERE memberships.user_num = ?1 AND memberships.membership = 2 AND rooms.last_position > ?2
        ORDER BY rooms.room_num";
}

/// A user's membership of a room. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Membership {
    /// `invite`
    Invite = 1,
    /// `join`
    Join = 2,
    /// `knock`
    Knock = 3,
    /// `leave`
    Leave = 4,
    /// `ban`
    Ban = 5,
}

impl Membership {
    /// Reads the word of an event's content.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "invite" => Self::Invite,
            "join" => Self::Join,
            "knock" => Self::Knock,
            "leave" => Self::Leave,
            "ban" => Self::Ban,
            _ => return None,
        })
    }

    /// The word of an event's content.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }

    /// The number that is stored, also as the tag of a member in a state.
    #[must_use]
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The membership with this number.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            1 => Self::Invite,
            2 => Self::Join,
            3 => Self::Knock,
            4 => Self::Leave,
            5 => Self::Ban,
            _ => return None,
        })
    }
}

/// A user's membership of one room, and what made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembershipRow {
    /// The room.
    pub room: RoomNum,
    /// The membership.
    pub membership: Membership,
    /// The member event.
    pub event: EventNum,
    /// The position of the change.
    pub position: i64,
    /// Whether the user has forgotten the room since.
    pub forgotten: bool,
}

fn read(row: &dyn Row, forgotten: bool) -> Result<MembershipRow, Error> {
    let code = row.int(1)?;
    let membership = Membership::from_code(code)
        .ok_or_else(|| Error::Damaged(format!("there is no membership {code}")))?;
    Ok(MembershipRow {
        room: RoomNum(row.int(0)?),
        membership,
        event: EventNum(row.int(2)?),
        position: row.int(3)?,
        forgotten,
    })
}

/// Sets a local user's membership, at a position of its own.
///
/// # Errors
/// When the database fails.
pub fn membership_set(
    tx: &mut Tx<'_>,
    positions: &mut Positions,
    user: UserNum,
    row: (RoomNum, Membership, EventNum),
) -> Result<i64, Error> {
    let (room, membership, event) = row;
    let position = positions.give()?;
    let code = membership.code();
    tx.execute_one(
        &MEMBERSHIP_SET,
        &[
            user.into(),
            room.into(),
            code.into(),
            event.into(),
            position.into(),
        ],
    )?;
    tx.execute_one(
        &MEMBERSHIP_CHANGE_INSERT,
        &[
            position.into(),
            user.into(),
            room.into(),
            code.into(),
            event.into(),
        ],
    )?;
    Ok(position)
}

/// Notes where a member event of a local user stands that has come into the timeline later.
///
/// # Errors
/// When the database fails.
pub(crate) fn membership_change_place(
    tx: &mut Tx<'_>,
    user: UserNum,
    (room, event): (RoomNum, EventNum),
    place: Place,
) -> Result<(), Error> {
    let params = [
        user.into(),
        room.into(),
        event.into(),
        place.major.into(),
        place.minor.into(),
    ];
    tx.execute(&MEMBERSHIP_CHANGE_PLACE, &params).map(drop)
}

/// Some local users who are joined to a room, in no order.
///
/// # Errors
/// When the database cannot be read.
pub fn joined_in(tx: &mut Tx<'_>, room: RoomNum, most: i64) -> Result<Vec<UserNum>, Error> {
    tx.query_all(&JOINED_IN_ROOM, &[room.into(), most.into()], |row| {
        Ok(UserNum(row.int(0)?))
    })
}

/// All memberships of a user, forgotten rooms included.
///
/// # Errors
/// When the database cannot be read.
pub fn membership_list(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<MembershipRow>, Error> {
    tx.query_all(&MEMBERSHIP_LIST, &[user.into()], |row| {
        read(row, row.truth(4)?)
    })
}

/// At most `limit` memberships of a user, forgotten rooms included, of the rooms above `after` (`RoomNum(0)`: from the
/// first), in the order of the rooms' numbers.
///
/// # Errors
/// When the database cannot be read.
pub fn membership_page(
    tx: &mut Tx<'_>,
    user: UserNum,
    after: RoomNum,
    limit: u32,
) -> Result<Vec<MembershipRow>, Error> {
    let params = [user.into(), after.into(), i64::from(limit).into()];
    tx.query_all(&MEMBERSHIP_PAGE, &params, |row| read(row, row.truth(4)?))
}

/// At most `limit` guests who are in `room`, those above `after` (`UserNum(0)`: from the first).
///
/// # Errors
/// When the database cannot be read.
pub fn guests_in(
    tx: &mut Tx<'_>,
    room: RoomNum,
    after: UserNum,
    limit: u32,
) -> Result<Vec<UserNum>, Error> {
    let params = [
        room.into(),
        Membership::Join.code().into(),
        after.into(),
        i64::from(limit).into(),
    ];
    tx.query_all(&GUESTS_IN_ROOM, &params, |row| Ok(UserNum(row.int(0)?)))
}

/// Whether a local user is, or ever was, joined to a room.
///
/// # Errors
/// When the database cannot be read.
pub fn was_ever_joined(tx: &mut Tx<'_>, user: UserNum, room: RoomNum) -> Result<bool, Error> {
    let found = tx.query_one(&WAS_JOINED, &[user.into(), room.into()], |row| row.int(0))?;
    Ok(found.is_some())
}

/// A user's membership of a room now.
///
/// # Errors
/// When the database cannot be read.
pub fn membership_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
) -> Result<Option<MembershipRow>, Error> {
    tx.query_one(&MEMBERSHIP_READ, &[user.into(), room.into()], |row| {
        read(row, row.truth(4)?)
    })
}

/// What `user` is in each of the rooms with these ids whose state is known here: `None` where they never were anything.
///
/// # Errors
/// When the database cannot be read.
pub fn membership_by_room_id(
    tx: &mut Tx<'_>,
    user: UserNum,
    room_ids: &[String],
) -> Result<Vec<Option<Membership>>, Error> {
    let room_ids: Vec<&str> = room_ids.iter().map(String::as_str).collect();
    let params = [user.into(), Value::Texts(&room_ids)];
    tx.query_all(&MEMBERSHIP_BY_ROOM_ID, &params, |row| {
        Ok(row.opt_int(0)?.and_then(Membership::from_code))
    })
}

/// The changes of a user's memberships after `since` and up to `upto`, in order.
///
/// # Errors
/// When the database cannot be read.
pub fn membership_changes(
    tx: &mut Tx<'_>,
    user: UserNum,
    since: i64,
    upto: i64,
) -> Result<Vec<MembershipRow>, Error> {
    tx.query_all(
        &MEMBERSHIP_CHANGES,
        &[user.into(), since.into(), upto.into()],
        |row| read(row, false),
    )
}

/// A user's membership of each of `rooms` as of a position, of those of which there had been one.
///
/// # Errors
/// When the database cannot be read.
pub fn memberships_at(
    tx: &mut Tx<'_>,
    user: UserNum,
    rooms: &[RoomNum],
    position: i64,
) -> Result<Vec<MembershipRow>, Error> {
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [user.into(), Value::Ints(&rooms), position.into()];
    tx.query_all(&MEMBERSHIPS_AT, &params, |row| read(row, false))
}

/// Every change of a user's membership of a room, in order.
///
/// # Errors
/// When the database cannot be read.
pub fn membership_history(
    tx: &mut Tx<'_>,
    user: UserNum,
    room: RoomNum,
) -> Result<Vec<MembershipRow>, Error> {
    tx.query_all(&MEMBERSHIP_HISTORY, &[user.into(), room.into()], |row| {
        read(row, false)
    })
}

/// Forgets a room that the user has left; false when the user hasn't left it.
///
/// # Errors
/// When the database fails.
pub fn membership_forget(tx: &mut Tx<'_>, user: UserNum, room: RoomNum) -> Result<bool, Error> {
    Ok(tx.execute(&MEMBERSHIP_FORGET, &[user.into(), room.into()])? > 0)
}

/// The user's joined rooms whose timeline has grown after `since`.
///
/// # Errors
/// When the database cannot be read.
pub fn rooms_changed(tx: &mut Tx<'_>, user: UserNum, since: i64) -> Result<Vec<RoomNum>, Error> {
    tx.query_all(&ROOMS_CHANGED, &[user.into(), since.into()], |row| {
        Ok(RoomNum(row.int(0)?))
    })
}

/// Rooms that both users are joined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutualRooms {
    /// Ids of rooms, each with the position at which the first user joined, in their order.
    pub rooms: Vec<(String, i64)>,
    /// How many there are in all.
    pub count: i64,
}

/// At most `limit` rooms that `user` and `other` are joined to, of those that `user` joined after the position `after`.
///
/// # Errors
/// When the database cannot be read.
pub fn mutual_rooms(
    tx: &mut Tx<'_>,
    (user, other): (UserNum, UserNum),
    after: i64,
    limit: i64,
) -> Result<MutualRooms, Error> {
    let params = [user.into(), other.into(), after.into(), limit.into()];
    let rooms = tx.query_all(&MUTUAL_ROOMS, &params, |row| {
        Ok((row.text(0)?.to_owned(), row.int(1)?))
    })?;
    let count = [user.into(), other.into()];
    let count = tx.query_one(&MUTUAL_ROOMS_COUNT, &count, |row| row.int(0))?;
    Ok(MutualRooms {
        rooms,
        count: count.unwrap_or(0),
    })
}

/// Those of the rooms with these ids that `user` is joined to.
///
/// # Errors
/// When the database cannot be read.
pub fn joined_of(tx: &mut Tx<'_>, user: UserNum, rooms: &[&str]) -> Result<HashSet<String>, Error> {
    if rooms.is_empty() {
        return Ok(HashSet::new());
    }
    let params = [user.into(), Value::Texts(rooms)];
    let joined = tx.query_all(&JOINED_OF, &params, |row| Ok(row.text(0)?.to_owned()))?;
    Ok(joined.into_iter().collect())
}
