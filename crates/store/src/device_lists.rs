//! When users' devices and cross-signing keys were changed, and who is to be told.
//! <https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user>
//!
//! Of each device there is one row, of its last change, also when it is gone: of those that are gone, the last few are
//! remembered. What others learn from a change is read when they ask.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedUserId, UserId};
use starling_db::{Error, Positions, Row, Tx, Value};

use crate::accounts::read_user_id;
use crate::device_lists_resent::updates_resent;
use crate::memberships::Membership;
use crate::names::types;
use crate::numbers::{KeyNum, RoomNum, UserNum};
use crate::store::Store;

starling_db::statements! {
    /// The last change of a user's devices.
    STREAM_ID = "SELECT MAX(position) FROM device_changes WHERE user_num = ?1 AND length(device_id) > 0";
    /// Changes of devices of some users, each with the one before, 0 for none.
    DEVICE_CHANGES_SET = "INSERT INTO device_changes (position, user_num, device_id, prev)
        SELECT c1, c2, c3, NULLIF(c4, 0) FROM {zip ints ?1 ints ?2 blobs ?3 ints ?4} AS changes WHERE 1 = 1
        ON CONFLICT (user_num, device_id) DO UPDATE SET position = excluded.position, prev = excluded.prev";
    /// Forgets all but the last of a user's devices that are gone.
    GONE_DEVICES_FORGET = "DELETE FROM device_changes WHERE user_num = ?1 AND length(device_id) > 0
        AND NOT EXISTS (SELECT 1 FROM devices WHERE devices.user_num = device_changes.user_num
            AND devices.device_id = device_changes.device_id)
        AND position <= (SELECT gone.position FROM device_changes AS gone WHERE gone.user_num = ?1
            AND length(gone.device_id) > 0
            AND NOT EXISTS (SELECT 1 FROM devices WHERE devices.user_num = gone.user_num
                AND devices.device_id = gone.device_id)
            ORDER BY gone.position DESC LIMIT 1 OFFSET ?2)";
    /// Notes a change of each of some local users in the rooms that they are in.
    ROOMS_NOTE = "INSERT INTO device_list_rooms (room_num, user_num, position)
        SELECT memberships.room_num, memberships.user_num, changed.c1 FROM {zip ints ?1 ints ?2} AS changed
            CROSS JOIN memberships WHERE memberships.user_num = changed.c2 AND memberships.membership = 2
        ON CONFLICT (room_num, user_num) DO UPDATE SET position = excluded.position RETURNING room_num";
    /// Notes a change in some rooms.
    ROOMS_NOTE_REMOTE = "INSERT INTO device_list_rooms (room_num, user_num, position)
        SELECT rooms.value, CAST(?1 AS BIGINT), CAST(?2 AS BIGINT) FROM {ints ?3} AS rooms WHERE 1 = 1
        ON CONFLICT (room_num, user_num) DO UPDATE SET position = excluded.position";
    /// Some changes.
    DEVICE_UPDATES = "SELECT changes.position, users.user_id, changes.device_id, changes.prev
        FROM {ints ?1} AS wanted CROSS JOIN device_changes AS changes CROSS JOIN users
        WHERE changes.position = wanted.value AND users.user_num = changes.user_num ORDER BY changes.position";
    /// Whose devices were changed, of those in the rooms that a user is in.
    CHANGED_FOR = "SELECT DISTINCT users.user_id FROM memberships CROSS JOIN device_list_rooms AS changed CROSS JOIN users
        WHERE memberships.user_num = ?1 AND memberships.membership = 2 AND changed.room_num = memberships.room_num
            AND changed.position > ?2 AND changed.position <= ?3 AND users.user_num = changed.user_num";
    /// Whether a user's own devices were changed.
    CHANGED_OWN = "SELECT 1 FROM device_changes WHERE user_num = ?1 AND position > ?2 AND position <= ?3 LIMIT 1";
    /// Whose keys a user sees other signatures of than before.
    CHANGED_SIGNATURES = "SELECT users.user_id FROM signature_changes AS changed
        JOIN users ON users.user_num = changed.user_num
        WHERE changed.signer_num = ?1 AND changed.position > ?2 AND changed.position <= ?3";
    /// Which members of some rooms became something else, and the tag of what they were before.
    MEMBERS_CHANGED = "SELECT deltas.room_num, deltas.key_num, deltas.left_tag
        FROM {ints ?1} AS wanted CROSS JOIN state_deltas AS deltas
        WHERE deltas.room_num = wanted.value AND deltas.position > ?2 AND deltas.position <= ?3
            AND deltas.type_num = ?4 AND deltas.left_tag IS NOT NULL ORDER BY deltas.position";
}

/// So many devices of a user that are gone are remembered. A server that has missed more notices it by those that it is told
/// of.
const GONE_REMEMBERED: i64 = 100;

/// Stands in place of what a member was before in rows of an older program.
const NOT_KNOWN: i64 = -1;

/// Stands in place of a device's id for the user's cross-signing keys.
pub const CROSS_SIGNING: &str = "";

/// That a user's devices were changed, and who is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceListChange {
    /// Whose devices.
    pub user: UserNum,
    /// The position of the last of the changes.
    pub position: i64,
    /// The rooms that the user is in.
    pub rooms: Vec<RoomNum>,
}

/// Members of rooms who became something else, once or more often, each with whether they were joined before, or may have been.
pub type ChangedMembers = BTreeMap<(RoomNum, KeyNum), bool>;

/// A change of a device, as other servers are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceUpdate {
    /// Its position.
    pub position: i64,
    /// Whose device.
    pub user_id: OwnedUserId,
    /// The device, or [`CROSS_SIGNING`].
    pub device_id: String,
    /// The change before of any of the user's devices.
    pub prev: Option<i64>,
}

/// Those of the changes at some positions that are the last of their devices, and those that a server is told again.
///
/// # Errors
/// When the database cannot be read.
pub fn device_updates(tx: &mut Tx<'_>, positions: &[i64]) -> Result<Vec<DeviceUpdate>, Error> {
    let mut updates = tx.query_all(&DEVICE_UPDATES, &[Value::Ints(positions)], device_update)?;
    updates.extend(updates_resent(tx, positions)?);
    updates.sort_by_key(|update| update.position);
    updates.dedup();
    Ok(updates)
}

/// A row of position, user, device and the change before.
pub(crate) fn device_update(row: &dyn Row) -> Result<DeviceUpdate, Error> {
    Ok(DeviceUpdate {
        position: row.int(0)?,
        user_id: read_user_id(row, 1)?,
        device_id: row.utf8(2)?.to_owned(),
        prev: row.opt_int(3)?,
    })
}

/// Notes that a user of another server, who is in `rooms`, has other devices. The answer is the position.
///
/// # Errors
/// When the database fails.
pub fn remote_devices_change(
    tx: &mut Tx<'_>,
    positions: &mut Positions,
    user: UserNum,
    rooms: &[RoomNum],
) -> Result<i64, Error> {
    let position = positions.give()?;
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [user.into(), position.into(), Value::Ints(&rooms)];
    tx.execute(&ROOMS_NOTE_REMOTE, &params)?;
    Ok(position)
}

/// Notes that devices of local users, one of each, were changed at some positions, after a change at `prev`.
///
/// # Errors
/// When the database fails.
pub(crate) fn device_changes_again(
    tx: &mut Tx<'_>,
    changes: &BTreeMap<i64, (UserNum, &str)>,
    prev: i64,
) -> Result<(), Error> {
    let positions: Vec<i64> = changes.keys().copied().collect();
    let users: Vec<i64> = changes.values().map(|(user, _)| user.0).collect();
    let devices = changes.values().map(|(_, device)| device.as_bytes());
    let devices: Vec<&[u8]> = devices.collect();
    let before = vec![prev; changes.len()];
    changes_set(tx, (&positions, &users), (&devices, &before))?;
    rooms_note(tx, &positions, &users).map(drop)
}

/// Notes changes of devices: at which positions, of which users, of which devices, and after which changes.
fn changes_set(
    tx: &mut Tx<'_>,
    (positions, users): (&[i64], &[i64]),
    (devices, before): (&[&[u8]], &[i64]),
) -> Result<(), Error> {
    let params = [
        Value::Ints(positions),
        Value::Ints(users),
        Value::Blobs(devices),
        Value::Ints(before),
    ];
    tx.execute(&DEVICE_CHANGES_SET, &params).map(drop)
}

/// Notes a change at each of the positions in the rooms of the user beside it: these rooms.
fn rooms_note(tx: &mut Tx<'_>, positions: &[i64], users: &[i64]) -> Result<Vec<RoomNum>, Error> {
    let params = [Value::Ints(positions), Value::Ints(users)];
    tx.query_all(&ROOMS_NOTE, &params, |row| Ok(RoomNum(row.int(0)?)))
}

/// The last change of the devices of `user`; 0 when there was none.
///
/// # Errors
/// When the database cannot be read.
pub fn stream_id(tx: &mut Tx<'_>, user: UserNum) -> Result<i64, Error> {
    let found = tx.query_one(&STREAM_ID, &[user.into()], |row| row.opt_int(0))?;
    Ok(found.flatten().unwrap_or(0))
}

/// Whose devices were changed after `since` and up to `upto`, of those who are, or were then, in a room with `user`; and
/// `user`, whose name is `user_id`, too.
///
/// # Errors
/// When the database cannot be read.
pub fn device_lists_changed(
    tx: &mut Tx<'_>,
    (user, user_id): (UserNum, &UserId),
    since: i64,
    upto: i64,
) -> Result<BTreeSet<String>, Error> {
    let params = [user.into(), since.into(), upto.into()];
    let mut changed = BTreeSet::new();
    for statement in [&CHANGED_FOR, &CHANGED_SIGNATURES] {
        tx.query(statement, &params, &mut |row| {
            changed.insert(row.text(0)?.to_owned());
            Ok(())
        })?;
    }
    if tx.query_one(&CHANGED_OWN, &params, |_| Ok(()))?.is_some() {
        changed.insert(user_id.to_string());
    }
    Ok(changed)
}

/// The members of `rooms` who in the current state became something else after `since` and up to `upto`, each with whether they
/// were joined at `since`. Who only has another name or picture is not among them. Of what an older version of this program
/// has stored it is not known: then they may have been.
///
/// # Errors
/// When the database cannot be read.
pub fn members_changed(
    tx: &mut Tx<'_>,
    rooms: &[RoomNum],
    since: i64,
    upto: i64,
) -> Result<ChangedMembers, Error> {
    let mut changed = ChangedMembers::new();
    if rooms.is_empty() {
        return Ok(changed);
    }
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [
        Value::Ints(&rooms),
        since.into(),
        upto.into(),
        types::MEMBER.into(),
    ];
    tx.query(&MEMBERS_CHANGED, &params, &mut |row| {
        let key = (RoomNum(row.int(0)?), KeyNum(row.int(1)?));
        let before = row.int(2)?;
        let was_joined = before == Membership::Join.code() || before == NOT_KNOWN;
        changed.entry(key).or_insert(was_joined);
        Ok(())
    })?;
    Ok(changed)
}

impl Store {
    /// Notes that devices of a local user were changed, or are gone; [`CROSS_SIGNING`] stands for the cross-signing keys.
    /// After the commit, whoever sends to other servers is woken up; clients are to be woken by the caller.
    ///
    /// # Errors
    /// When the database fails.
    pub fn device_list_change(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        user: UserNum,
        device_ids: &BTreeSet<String>,
    ) -> Result<DeviceListChange, Error> {
        let mut last = stream_id(tx, user)?;
        let (mut given, mut before) = (Vec::new(), Vec::new());
        for device_id in device_ids {
            let position = positions.give()?;
            given.push(position);
            if device_id == CROSS_SIGNING {
                before.push(0);
            } else {
                before.push(std::mem::replace(&mut last, position));
            }
        }
        let ids: Vec<&[u8]> = device_ids.iter().map(String::as_bytes).collect();
        let users = vec![user.0; given.len()];
        changes_set(tx, (&given, &users), (&ids, &before))?;
        tx.execute(&GONE_DEVICES_FORGET, &[user.into(), GONE_REMEMBERED.into()])?;
        let position = positions.last();
        let rooms = rooms_note(tx, &[position], &[user.0])?;
        self.wake_sender_after_commit(tx);
        Ok(DeviceListChange {
            user,
            position,
            rooms,
        })
    }
}
