//! Servers that begin to share a room with a user. Where they shared one before, they weren't told of changes of the user's
//! devices in between, and may still have the list of then. And who comes into a room may have asked for the list before it was
//! heard of here. <https://spec.matrix.org/v1.19/server-server-api/#device-management>
//!
//! They are told of the last change; what they have missed before it they notice by the one that it names.

use std::collections::BTreeSet;

use ruma_common::{OwnedServerName, ServerName, UserId};
use starling_db::{Error, Positions, Sql, Tx, Value};

use crate::device_lists::{DeviceUpdate, device_update};
use crate::memberships::Membership;
use crate::numbers::RoomNum;
use crate::room_servers::{MemberChange, server_name};
use crate::rooms::RoomSnapshot;
use crate::store::Store;

// `(SELECT … LIMIT 1) IS NULL` stands for `NOT EXISTS`: of that PostgreSQL makes a table of everybody's rooms.
starling_db::statements! {
    /// Servers in a room that some users have come into after an event, and that share no other with them (of very many, some);
    /// of those that shared one before the event, or may have: after a copy of the database was put back nobody knows.
    SHARE_AGAIN = "SELECT users.value, here.server FROM {ints ?1} AS users
            CROSS JOIN (SELECT server FROM room_servers WHERE room_num = ?2 AND until_position = 9223372036854775807
                ORDER BY server LIMIT 500) AS here
        WHERE EXISTS (SELECT 1 FROM device_changes WHERE device_changes.user_num = users.value)
            AND (EXISTS (SELECT 1 FROM restores)
                OR EXISTS (SELECT 1 FROM device_lists_elsewhere AS elsewhere WHERE elsewhere.user_num = users.value)
                OR (EXISTS (SELECT 1 FROM membership_changes AS was WHERE was.user_num = users.value
                        AND was.position < ?3 AND was.membership = 2)
                    AND (SELECT 1 FROM room_servers AS past CROSS JOIN membership_changes AS was
                        WHERE past.server = here.server AND was.user_num = users.value
                            AND was.room_num = past.room_num AND was.position < ?3 AND was.membership = 2
                        LIMIT 1) IS NOT NULL))
            AND (SELECT 1 FROM room_servers AS others CROSS JOIN memberships AS own
                WHERE others.server = here.server AND others.until_position = 9223372036854775807
                    AND others.room_num <> ?2 AND own.user_num = users.value AND own.room_num = others.room_num
                    AND own.membership = 2 LIMIT 1) IS NULL
        LIMIT 500";
    /// Members of a room, and servers that came into it at a position or later, that share no other room: of very many, some.
    SHARE_NOW = "SELECT members.user_num, came.server
        FROM (SELECT user_num FROM memberships WHERE room_num = ?1 AND membership = 2 LIMIT 200) AS members
            CROSS JOIN (SELECT server FROM room_servers WHERE room_num = ?1 AND until_position = 9223372036854775807
                AND from_position >= ?2 ORDER BY server LIMIT 500) AS came
        WHERE EXISTS (SELECT 1 FROM device_changes WHERE device_changes.user_num = members.user_num)
            AND (SELECT 1 FROM memberships AS own CROSS JOIN room_servers AS others
                WHERE own.user_num = members.user_num AND own.membership = 2 AND own.room_num <> ?1
                    AND others.room_num = own.room_num AND others.server = came.server
                    AND others.until_position = 9223372036854775807 LIMIT 1) IS NULL
        LIMIT 500";
    /// Of some users and servers, what waits already is not told.
    RESENT_REPLACE = "DELETE FROM destination_events WHERE (server, position) IN
        (SELECT resent.server, resent.position FROM {zip ints ?1 texts ?2} AS told CROSS JOIN device_lists_resent AS resent
            WHERE resent.server = told.c2 AND resent.server <> '' AND resent.user_num = told.c1)";
    /// Notes at which positions servers are told of which users' devices.
    RESENT_SET = "INSERT INTO device_lists_resent (position, user_num, server)
        SELECT c1, c2, c3 FROM {zip ints ?1 ints ?2 texts ?3} AS told WHERE 1 = 1
        ON CONFLICT (server, user_num) WHERE server <> '' DO UPDATE SET position = excluded.position";
    /// These positions go to these servers.
    RESENT_SEND = "INSERT INTO destination_events (server, position)
        SELECT c2, c1 FROM {zip ints ?1 texts ?2} AS told WHERE 1 = 1 ON CONFLICT (server, position) DO NOTHING";
    /// The last changes of the users who are noted at some positions: of their devices, and of their cross-signing keys.
    RESENT_UPDATES = "SELECT changes.position, users.user_id, changes.device_id, changes.prev
        FROM {ints ?1} AS wanted CROSS JOIN device_lists_resent AS resent CROSS JOIN device_changes AS changes
            CROSS JOIN users
        WHERE resent.position = wanted.value AND changes.user_num = resent.user_num AND users.user_num = resent.user_num
            AND (length(changes.device_id) = 0 OR changes.position = (SELECT MAX(last.position)
                FROM device_changes AS last WHERE last.user_num = resent.user_num AND length(last.device_id) > 0))
        ORDER BY changes.position";
    /// Of some users who ever joined a room, other servers may have lists after it is gone.
    ELSEWHERE_OF_ROOM = "INSERT INTO device_lists_elsewhere (user_num)
        SELECT DISTINCT was.user_num FROM users CROSS JOIN membership_changes AS was
        WHERE users.user_num > ?2 AND users.user_num <= ?3 AND was.user_num = users.user_num AND was.room_num = ?1
            AND was.membership = 2
        ON CONFLICT (user_num) DO NOTHING";
    /// Forgets what servers were told.
    RESENT_FORGET = "DELETE FROM device_lists_resent WHERE position IN {ints ?1}";
}

/// What follows changes of members, of servers that share a room with a user of this server now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared<'a> {
    /// The room, as it is now.
    pub(crate) room: &'a RoomSnapshot,
    /// The position of the event that changed it.
    pub(crate) position: i64,
    /// Whether servers came into the room.
    pub(crate) has_entered: bool,
}

impl Store {
    /// Follows changes of members, after [`Store::servers_follow`]: servers that share a room now with a user of this server
    /// (`server`) are told of the user's devices. Of a user and a server one note is enough, however often they come and go.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn resend_device_lists(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        shared: Shared<'_>,
        (changes, server): (&[MemberChange<'_>], &ServerName),
    ) -> Result<(), Error> {
        if !shared.room.is_shared || !self.outgoing().is_open() {
            return Ok(());
        }
        let came = changes.iter().filter(|change| {
            let is_new = change.before != Some(Membership::Join);
            is_new && change.after == Some(Membership::Join) && change.user.server_name() == server
        });
        let came: Vec<&UserId> = came.map(|change| change.user).collect();
        let (room, position) = (Value::from(shared.room.room), Value::from(shared.position));
        let mut again = BTreeSet::new();
        if !came.is_empty() {
            let users = self.names().users(tx, came)?;
            let users: Vec<i64> = users.into_values().map(|user| user.0).collect();
            again.extend(pairs(
                tx,
                &SHARE_AGAIN,
                &[Value::Ints(&users), room, position],
            )?);
        }
        if shared.has_entered {
            again.extend(pairs(tx, &SHARE_NOW, &[room, position])?);
        }
        self.resend(tx, positions, &again)
    }

    /// Tells each server of its user's devices.
    fn resend(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        told: &BTreeSet<(i64, OwnedServerName)>,
    ) -> Result<(), Error> {
        if told.is_empty() {
            return Ok(());
        }
        let given = told.iter().map(|_| positions.give());
        let given: Vec<i64> = given.collect::<Result<_, _>>()?;
        let users: Vec<i64> = told.iter().map(|(user, _)| *user).collect();
        let servers: Vec<&str> = told.iter().map(|(_, server)| server.as_str()).collect();
        let (given, users) = (Value::Ints(&given), Value::Ints(&users));
        let servers = Value::Texts(&servers);
        tx.execute(&RESENT_REPLACE, &[users, servers])?;
        tx.execute(&RESENT_SET, &[given, users, servers])?;
        tx.execute(&RESENT_SEND, &[given, servers])?;
        self.wake_sender_after_commit(tx);
        Ok(())
    }
}

/// Users and servers.
fn pairs(
    tx: &mut Tx<'_>,
    statement: &'static Sql,
    params: &[Value<'_>],
) -> Result<Vec<(i64, OwnedServerName)>, Error> {
    tx.query_all(statement, params, |row| {
        Ok((row.int(0)?, server_name(row.text(1)?)?))
    })
}

/// What is told at those of the positions at which a user's devices are sent again.
pub(crate) fn updates_resent(
    tx: &mut Tx<'_>,
    positions: &[i64],
) -> Result<Vec<DeviceUpdate>, Error> {
    tx.query_all(&RESENT_UPDATES, &[Value::Ints(positions)], device_update)
}

/// Forgets what servers were told at some positions.
pub(crate) fn resent_forget(tx: &mut Tx<'_>, positions: &[i64]) -> Result<(), Error> {
    if positions.is_empty() {
        return Ok(());
    }
    tx.execute(&RESENT_FORGET, &[Value::Ints(positions)])
        .map(drop)
}

/// A room is purged: of those users after one and up to another who ever joined it, any server may have a list.
pub(crate) fn elsewhere_of_room(
    tx: &mut Tx<'_>,
    room: RoomNum,
    (after, upto): (i64, i64),
) -> Result<(), Error> {
    let params = [room.into(), after.into(), upto.into()];
    tx.execute(&ELSEWHERE_OF_ROOM, &params).map(drop)
}
