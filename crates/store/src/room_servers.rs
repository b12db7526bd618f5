//! Which other servers are in which rooms, from where in the log to where.
//!
//! The rows follow the joined members of the current state, whatever changes it. This server has none.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedServerName, ServerName, UserId};
use starling_db::{Error, Tx, Value};

use crate::memberships::Membership;
use crate::numbers::{RoomNum, UserNum};
use crate::remote_devices::remote_lists_doubt_named;
use crate::rooms::RoomSnapshot;
use crate::store::Store;

starling_db::statements! {
    /// Counts members who have joined, by their servers; a name stands as often as there are members.
    SERVERS_JOIN = "INSERT INTO room_servers (room_num, server, until_position, from_position, members)
        SELECT CAST(?1 AS BIGINT), joined.value, 9223372036854775807, CAST(?2 AS BIGINT), COUNT(*)
        FROM {texts ?3} AS joined WHERE 1 = 1 GROUP BY joined.value
        ON CONFLICT (room_num, server, until_position) DO UPDATE SET members = room_servers.members + excluded.members";
    /// The servers that came into a room at a position, some of them if they are very many.
    SERVERS_ENTERED = "SELECT server FROM room_servers WHERE room_num = ?1 AND from_position = ?2
        AND until_position = 9223372036854775807 ORDER BY server LIMIT 200";
    /// Counts members who have left. The server whose last one it was has left too.
    SERVERS_LEAVE = "UPDATE room_servers SET members = room_servers.members - gone.members,
            until_position = CASE WHEN room_servers.members <= gone.members THEN CAST(?2 AS BIGINT)
                ELSE room_servers.until_position END
        FROM (SELECT names.value AS server, COUNT(*) AS members FROM {texts ?3} AS names GROUP BY names.value) AS gone
        WHERE room_servers.room_num = ?1 AND room_servers.server = gone.server
            AND room_servers.until_position = 9223372036854775807";
    /// Another server has come into the room for the first time.
    ROOM_SHARE = "UPDATE rooms SET is_shared = 1 WHERE room_num = ?1";
    /// The servers in a room.
    SERVERS_IN_ROOM = "SELECT server FROM room_servers WHERE room_num = ?1 AND until_position = 9223372036854775807
        ORDER BY server";
    /// Whether a server is in a room.
    SERVER_IS_IN_ROOM = "SELECT 1 FROM room_servers WHERE room_num = ?1 AND server = ?2
        AND until_position = 9223372036854775807";
    /// The servers in some rooms.
    SERVERS_IN_ROOMS = "SELECT rooms.room_num, rooms.room_id, servers.server
        FROM {ints ?1} AS wanted CROSS JOIN rooms CROSS JOIN room_servers AS servers
        WHERE rooms.room_num = wanted.value AND servers.room_num = rooms.room_num
            AND servers.until_position = 9223372036854775807";
    /// Those of some servers that are in a room of a user.
    SERVERS_SHARING = "SELECT wanted.value FROM {texts ?2} AS wanted WHERE EXISTS (
        SELECT 1 FROM room_servers AS servers
        JOIN memberships AS own ON own.user_num = ?1 AND own.room_num = servers.room_num AND own.membership = 2
        WHERE servers.server = wanted.value AND servers.until_position = 9223372036854775807)";
    /// How many rooms users of this server and of others are in.
    ROOMS_SHARED_COUNT = "SELECT COUNT(*) FROM rooms WHERE is_shared = 1
        AND EXISTS (SELECT 1 FROM memberships WHERE memberships.room_num = rooms.room_num AND memberships.membership = 2)
        AND EXISTS (SELECT 1 FROM room_servers AS servers WHERE servers.room_num = rooms.room_num
            AND servers.until_position = 9223372036854775807)";
}

/// How many rooms users of this server and of others are in.
///
/// # Errors
/// When the database cannot be read.
pub fn rooms_shared_count(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let count = tx.query_one(&ROOMS_SHARED_COUNT, &[], |row| row.int(0))?;
    Ok(count.unwrap_or(0))
}

/// What a member of a room was and is, in the room's current state.
#[derive(Debug, Clone, Copy)]
pub struct MemberChange<'a> {
    /// The member.
    pub user: &'a UserId,
    /// What they were.
    pub before: Option<Membership>,
    /// What they are.
    pub after: Option<Membership>,
}

impl Store {
    /// Follows changes of members in the current state of the room that `after` shows. `position` is that of the event
    /// that brought them about, or of the change if none did; `server` is this server. The answer is whether other servers came
    /// into the room.
    ///
    /// # Errors
    /// When the database fails.
    pub fn servers_follow(
        &self,
        tx: &mut Tx<'_>,
        after: &mut RoomSnapshot,
        changes: &[MemberChange<'_>],
        (position, server): (i64, &ServerName),
    ) -> Result<bool, Error> {
        let is_joined = |membership: Option<Membership>| membership == Some(Membership::Join);
        let (mut joined, mut gone) = (Vec::new(), Vec::new());
        let (mut leavers, mut is_left_here) = (Vec::new(), false);
        for change in changes {
            let name = change.user.server_name();
            let has_left = is_joined(change.before) && !is_joined(change.after);
            if name == server {
                is_left_here |= has_left;
            } else if has_left {
                gone.push(name.as_str());
                leavers.push(change.user.as_str());
            } else if is_joined(change.after) && !is_joined(change.before) {
                joined.push(name.as_str());
            }
        }
        let (room, mut has_entered) = (Value::from(after.room), false);
        // First who comes: a server that has a member in place of another stays.
        if !joined.is_empty() {
            let params = [room, position.into(), Value::Texts(&joined)];
            tx.execute(&SERVERS_JOIN, &params)?;
            if !after.is_shared {
                tx.execute_one(&ROOM_SHARE, &[room])?;
                after.is_shared = true;
            }
            let params = [room, position.into()];
            let entered =
                tx.query_all(&SERVERS_ENTERED, &params, |row| server_name(row.text(0)?))?;
            has_entered = !entered.is_empty();
            self.servers_entered(tx, after.room, entered);
        }
        if !gone.is_empty() {
            let params = [room, position.into(), Value::Texts(&gone)];
            tx.execute(&SERVERS_LEAVE, &params)?;
            remote_lists_doubt_named(tx, &leavers)?;
        }
        if is_left_here && after.is_shared {
            self.remote_lists_doubt_if_left(tx, after)?;
        }
        Ok(has_entered)
    }
}

/// The other servers in a room, by their names.
///
/// # Errors
/// When the database cannot be read.
pub fn servers_in_room(tx: &mut Tx<'_>, room: RoomNum) -> Result<Vec<OwnedServerName>, Error> {
    tx.query_all(&SERVERS_IN_ROOM, &[room.into()], |row| {
        server_name(row.text(0)?)
    })
}

/// Whether another server is in a room.
///
/// # Errors
/// When the database cannot be read.
pub fn server_is_in_room(
    tx: &mut Tx<'_>,
    room: RoomNum,
    server: &ServerName,
) -> Result<bool, Error> {
    let params = [room.into(), server.as_str().into()];
    let found = tx.query_one(&SERVER_IS_IN_ROOM, &params, |_| Ok(()))?;
    Ok(found.is_some())
}

/// A room that other servers are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRoom {
    /// Its id.
    pub room_id: Box<str>,
    /// The servers, in no order.
    pub servers: Vec<OwnedServerName>,
}

/// Those of `rooms` that other servers are in.
///
/// # Errors
/// When the database cannot be read.
pub fn servers_in_rooms(
    tx: &mut Tx<'_>,
    rooms: &[RoomNum],
) -> Result<BTreeMap<RoomNum, SharedRoom>, Error> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let mut shared: BTreeMap<RoomNum, SharedRoom> = BTreeMap::new();
    tx.query(&SERVERS_IN_ROOMS, &[Value::Ints(&rooms)], &mut |row| {
        let (room, room_id) = (RoomNum(row.int(0)?), row.text(1)?);
        let room = shared.entry(room).or_insert_with(|| SharedRoom {
            room_id: room_id.into(),
            servers: Vec::new(),
        });
        room.servers.push(server_name(row.text(2)?)?);
        Ok(())
    })?;
    Ok(shared)
}

/// Those of `servers` that are in a room that `user`, who is of this server, has joined.
///
/// # Errors
/// When the database cannot be read.
pub fn servers_sharing(
    tx: &mut Tx<'_>,
    user: UserNum,
    servers: &BTreeSet<OwnedServerName>,
) -> Result<BTreeSet<OwnedServerName>, Error> {
    let names: Vec<&str> = servers.iter().map(|server| server.as_str()).collect();
    let params = [user.into(), Value::Texts(&names)];
    let found = tx.query_all(&SERVERS_SHARING, &params, |row| server_name(row.text(0)?))?;
    Ok(found.into_iter().collect())
}

/// Reads the name of a server.
pub(crate) fn server_name(text: &str) -> Result<OwnedServerName, Error> {
    OwnedServerName::try_from(text).map_err(|_| Error::Damaged("the name of a server".to_owned()))
}
