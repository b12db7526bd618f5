//! Servers that begin to share a room with a user. Where they shared one before, they weren't told of changes of the user's
//! devices in between, and may still have the list of then. And who comes into a room may have asked for the list before it was
//! heard of here. <https://spec.matrix.org/v1.19/server-server-api/#device-management>
//!
//! They are told of the last change; what they have missed before it they notice by the one that it names.

use std::collections::BTreeSet;

use ruma_common::{OwnedServerName, ServerName, UserId};
use starling_db::{Error, Positions, Tx, Value};

use crate::device_lists::{DeviceUpdate, device_update};
use crate::memberships::{Membership, joined_in};
use crate::numbers::{RoomNum, UserNum};
use crate::room_servers::{MemberChange, server_name};
use crate::rooms::RoomSnapshot;
use crate::store::Store;

starling_db::statements! {
    /// Users and servers that share a room, of servers that came into it at a position or later (of very many, some); and
    /// that share no other. Of servers that were there (from 0 on): those that shared one before an event.
    SHARE_AGAIN = "SELECT users.value, servers.server FROM {ints ?1} AS users
            CROSS JOIN (SELECT server FROM room_servers WHERE room_num = ?2 AND until_position = 9223372036854775807
                AND from_position >= ?3 ORDER BY server LIMIT 500) AS servers
        WHERE EXISTS (SELECT 1 FROM device_changes WHERE device_changes.user_num = users.value)
            AND (?3 > 0 OR EXISTS (SELECT 1 FROM membership_changes AS was
                JOIN room_servers AS past ON past.room_num = was.room_num AND past.server = servers.server
                WHERE was.user_num = users.value AND was.membership = 2 AND was.position < ?4
                    AND past.from_position < ?4))
            AND NOT EXISTS (SELECT 1 FROM memberships AS own
                JOIN room_servers AS others ON others.room_num = own.room_num AND others.server = servers.server
                    AND others.until_position = 9223372036854775807
                WHERE own.user_num = users.value AND own.membership = 2 AND own.room_num <> ?2)";
    /// Notes that a server is told of a user's devices.
    RESENT_INSERT = "INSERT INTO device_lists_resent (position, user_num) VALUES (?1, ?2)";
    /// The last changes of the users who are noted at some positions: of their devices, and of their cross-signing keys.
    RESENT_UPDATES = "SELECT changes.position, users.user_id, changes.device_id, changes.prev
        FROM {ints ?1} AS wanted CROSS JOIN device_lists_resent AS resent CROSS JOIN device_changes AS changes
            CROSS JOIN users
        WHERE resent.position = wanted.value AND changes.user_num = resent.user_num AND users.user_num = resent.user_num
            AND (length(changes.device_id) = 0 OR changes.position = (SELECT MAX(last.position)
                FROM device_changes AS last WHERE last.user_num = resent.user_num AND length(last.device_id) > 0))
        ORDER BY changes.position";
    /// Forgets what the servers were told.
    RESENT_SWEEP = "DELETE FROM device_lists_resent WHERE position <= ?1
        AND NOT EXISTS (SELECT 1 FROM destination_events AS waiting
            WHERE waiting.position = device_lists_resent.position)";
}

/// So many local members of a room are looked at when a server comes into it: what a server may have of the others lasts until
/// their next change.
const MEMBERS: i64 = 200;

impl Store {
    /// Follows changes of members, of which `position` is that of [`Store::servers_follow`], which came before: servers that
    /// share a room now with a user of this server are told of the user's devices.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn resend_device_lists(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        (room, position): (&RoomSnapshot, i64),
        (changes, server): (&[MemberChange<'_>], &ServerName),
    ) -> Result<(), Error> {
        if !room.is_shared || !self.outgoing().is_open() {
            return Ok(());
        }
        let is_new = |change: &&MemberChange<'_>| {
            change.after == Some(Membership::Join) && change.before != Some(Membership::Join)
        };
        let (own, others): (Vec<&UserId>, Vec<&UserId>) = changes
            .iter()
            .filter(is_new)
            .map(|change| change.user)
            .partition(|user| user.server_name() == server);
        let mut again = BTreeSet::new();
        if !own.is_empty() {
            let users = self.names().users(tx, own)?;
            let users: Vec<UserNum> = users.into_values().collect();
            again.extend(share_again(tx, room.room, (&users, 0), position)?);
        }
        if !others.is_empty() {
            let members = joined_in(tx, room.room, MEMBERS)?;
            let came_now = share_again(tx, room.room, (&members, position), position)?;
            again.extend(came_now);
        }
        for (user, server) in again {
            let position = positions.give()?;
            tx.execute_one(&RESENT_INSERT, &[position.into(), user.into()])?;
            self.send_to_server(tx, &server, position)?;
        }
        Ok(())
    }
}

/// The users, and servers that came into the room at `from` or later, that share it and no other; where `from` is 0, of those
/// that did before `position`.
fn share_again(
    tx: &mut Tx<'_>,
    room: RoomNum,
    (users, from): (&[UserNum], i64),
    position: i64,
) -> Result<Vec<(UserNum, OwnedServerName)>, Error> {
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    let params = [
        Value::Ints(&users),
        room.into(),
        from.into(),
        position.into(),
    ];
    tx.query_all(&SHARE_AGAIN, &params, |row| {
        Ok((UserNum(row.int(0)?), server_name(row.text(1)?)?))
    })
}

/// What is told at those of the positions at which a user's devices are sent again.
pub(crate) fn updates_resent(
    tx: &mut Tx<'_>,
    positions: &[i64],
) -> Result<Vec<DeviceUpdate>, Error> {
    tx.query_all(&RESENT_UPDATES, &[Value::Ints(positions)], device_update)
}

/// Forgets what all servers have that were to be told up to a position.
pub(crate) fn resent_sweep(tx: &mut Tx<'_>, upto: i64) -> Result<(), Error> {
    tx.execute(&RESENT_SWEEP, &[upto.into()]).map(drop)
}
