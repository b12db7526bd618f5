//! What must happen once a copy of the database was put back: clients and other servers remember what it does not.
//!
//! All of it is one transaction, made before the server starts. Another epoch of the log begins and positions jump ahead, so
//! that no token, and no number made of a position, means something else than it did. What was handed out since the copy
//! was made and must not be handed out again goes; what others may know better is asked for; and who may be wrong about this
//! server is told something that makes them look again.
//!
//! One-time keys go: some may have been given out, and a device that has none uploads others. Fallback keys stay: clients
//! keep the private half of the last two, replace them about once a week, and look at no list to see that one is gone; a
//! device that hasn't spoken to the server since the copy was made has no other way to be reached. Each counts as given out,
//! which other clients take as a reason to replace it. Messages to devices stay: one that has come already is known to its
//! device by its content, and to another server by its id.

use std::collections::BTreeMap;

use starling_db::{Db, Error, Positions, Tx, Value, Write};

use crate::device_lists::device_changes_again;
use crate::numbers::{RoomNum, UserNum};

starling_db::statements! {
    /// Notes that a copy was put back.
    RESTORE_NOTE = "INSERT INTO restores (epoch, position_before, position_after, restored_at) VALUES (?1, ?2, ?3, ?4)";
    /// The jumps that end before a position, the last one first.
    JUMPS = "SELECT position_before, position_after FROM restores WHERE position_after <= ?1 ORDER BY position_after DESC";
    /// The end of the last jump.
    LAST_JUMP = "SELECT COALESCE(MAX(position_after), 0) FROM restores";
    /// One-time keys count as given out, in case that a device repeats its upload.
    KEYS_REMEMBER = "INSERT INTO claimed_keys (key_num, device_num, algorithm, key_id, digest)
        SELECT key_num, device_num, algorithm, key_id, digest FROM one_time_keys WHERE 1 = 1
        ON CONFLICT (key_num) DO NOTHING";
    /// Drops all one-time keys.
    KEYS_DROP = "DELETE FROM one_time_keys";
    /// Fallback keys count as given out.
    FALLBACK_KEYS_USE = "UPDATE fallback_keys SET is_used = 1 WHERE is_used = 0";
    /// The local users of whom other servers may have a list of devices, since they may have shared a room with them since; each
    /// with the device that was changed last, if any.
    USERS_TOLD = "SELECT users.user_num, (SELECT changes.device_id FROM device_changes AS changes
            WHERE changes.user_num = users.user_num AND length(changes.device_id) > 0
            ORDER BY changes.position DESC LIMIT 1)
        FROM accounts AS users WHERE users.deactivated_at IS NULL ORDER BY users.user_num";
    /// Lists of devices of other servers' users are fetched again.
    LISTS_DOUBT_ALL = "UPDATE remote_device_lists SET is_stale = 1, version = version + 1, retry_at = 0";
    /// Who backs keys up is told to look again: a dehydrated device doesn't.
    BACKUPS_DOUBT = "UPDATE devices SET backup_in_doubt = 1, backup_refused = NULL, backup_refusals = 0
        WHERE dehydrated IS NULL AND user_num IN (SELECT user_num FROM key_backups WHERE is_deleted = 0)";
    /// Backups have other contents than when they had the etag last.
    BACKUPS_MARK = "UPDATE key_backups SET etag = ?1 WHERE is_deleted = 0";
    /// Rooms of which other servers may have more.
    ROOMS_FALL_BEHIND = "INSERT INTO rooms_behind (room_num, tries, due_at)
        SELECT rooms.room_num, 0, 0 FROM rooms WHERE rooms.is_shared = 1
            AND EXISTS (SELECT 1 FROM memberships WHERE memberships.room_num = rooms.room_num
                AND memberships.membership = 2)
            AND EXISTS (SELECT 1 FROM room_servers AS servers WHERE servers.room_num = rooms.room_num
                AND servers.until_position = 9223372036854775807)
        ON CONFLICT (room_num) DO UPDATE SET tries = 0, due_at = 0";
    /// Rooms that are due, those that have waited longest first.
    ROOMS_BEHIND = "SELECT room_num, tries FROM rooms_behind WHERE due_at <= ?1 ORDER BY due_at, room_num LIMIT ?2";
    /// When the next room is due.
    ROOMS_BEHIND_NEXT = "SELECT MIN(due_at) FROM rooms_behind";
    /// Others could not be asked of a room.
    ROOM_PUT_OFF = "UPDATE rooms_behind SET tries = tries + 1, due_at = ?2 WHERE room_num = ?1";
    /// A room is behind no longer.
    ROOM_CAUGHT_UP = "DELETE FROM rooms_behind WHERE room_num = ?1";
}

/// The epoch of a log whose database was never put back.
pub const FIRST_EPOCH: i64 = 1;

/// So many users are told of at once.
const STEP: usize = 500;

/// Stands for the device of a user who had none when the copy was made, and may have had one since: nobody has a device of
/// this name, and other servers, told that it is gone, ask for the list.
const NO_DEVICE: &str = "restored";

/// What was done after a copy was put back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The epoch of the log that has begun.
    pub epoch: i64,
    /// The last position that was given out when the copy was made.
    pub position_before: i64,
    /// From where on positions are given out now.
    pub position_after: i64,
    /// One-time keys that were dropped.
    pub one_time_keys: u64,
    /// Local users whose lists of devices other servers are made to fetch again.
    pub local_users: u64,
    /// Users of other servers whose lists of devices are fetched again.
    pub remote_users: u64,
    /// Devices that are told to look at their backup of keys again.
    pub backups: u64,
    /// Rooms of which other servers are asked what they have.
    pub rooms: u64,
}

/// A room of which others may have events that are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomBehind {
    /// The room.
    pub room: RoomNum,
    /// How often they were asked in vain.
    pub tries: i64,
}

/// Makes of a copy of the database that was put back one that a server may start with, at `now_ms` (milliseconds since 1970).
/// `known` are an epoch and a position that the log had come to, where that is known from elsewhere; else both are 0.
/// Doing it again, or to a database that is no copy, does the same again: clients begin anew, one-time keys go, and others look
/// once more.
///
/// A [`Store`](crate::Store) over the database must be made afterwards: it knows the epoch.
///
/// # Errors
/// When the database fails; nothing was done then.
pub async fn restored(db: &Db, now_ms: i64, known: (i64, i64)) -> Result<Restored, Error> {
    let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ()| {
        restore(tx, positions, (now_ms, known))
    };
    db.write_placed(Write::new("restored"), |_| Ok(()), place)
        .await
}

fn restore(
    tx: &mut Tx<'_>,
    positions: &mut Positions,
    (now_ms, known): (i64, (i64, i64)),
) -> Result<Restored, Error> {
    let position_before = positions.last();
    let epoch = positions.begin_epoch(tx, now_ms, known)?;
    let position_after = positions.last();
    let note = [epoch, position_before, position_after, now_ms].map(Value::from);
    tx.execute_one(&RESTORE_NOTE, &note)?;
    tx.execute(&KEYS_REMEMBER, &[])?;
    let one_time_keys = tx.execute(&KEYS_DROP, &[])?;
    tx.execute(&FALLBACK_KEYS_USE, &[])?;
    let local_users = tell_of_users(tx, positions, position_after)?;
    let remote_users = tx.execute(&LISTS_DOUBT_ALL, &[])?;
    let backups = tx.execute(&BACKUPS_DOUBT, &[])?;
    tx.execute(&BACKUPS_MARK, &[position_after.into()])?;
    let rooms = tx.execute(&ROOMS_FALL_BEHIND, &[])?;
    Ok(Restored {
        epoch,
        position_before,
        position_after,
        one_time_keys,
        local_users,
        remote_users,
        backups,
        rooms,
    })
}

/// Other servers are sent one change of the devices of each user whose devices they may know. It says that it follows one
/// that nobody has heard of, so they fetch the whole list. How many users there are.
fn tell_of_users(tx: &mut Tx<'_>, positions: &mut Positions, prev: i64) -> Result<u64, Error> {
    let users = tx.query_all(&USERS_TOLD, &[], |row| {
        let device = match row.opt_bytes(1)? {
            Some(_) => row.utf8(1)?,
            None => NO_DEVICE,
        };
        Ok((UserNum(row.int(0)?), device.to_owned()))
    })?;
    for some in users.chunks(STEP) {
        let mut changes = BTreeMap::new();
        for (user, device) in some {
            changes.insert(positions.give()?, (*user, &**device));
        }
        device_changes_again(tx, &changes, prev)?;
    }
    Ok(u64::try_from(users.len()).unwrap_or(u64::MAX))
}

/// A number above all that were given out before a copy was put back last; 0 when none ever was. For what is counted from 1
/// on, and known outside by its number.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn numbers_floor(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let last = tx.query_one(&LAST_JUMP, &[], |row| row.int(0))?;
    Ok(last.unwrap_or(0))
}

/// The position that lies `count` positions before another: those that were jumped over don't count.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn positions_before(tx: &mut Tx<'_>, position: i64, count: i64) -> Result<i64, Error> {
    let mut first = position.saturating_sub(count);
    tx.query(&JUMPS, &[position.into()], &mut |row| {
        let (before, after) = (row.int(0)?, row.int(1)?);
        if after > first {
            first = first.saturating_sub(after - before);
        }
        Ok(())
    })?;
    Ok(first)
}

/// At most `limit` rooms of which others are to be asked now, and when the next is due (milliseconds since 1970).
///
/// # Errors
/// When the database cannot be read.
pub fn rooms_behind(
    tx: &mut Tx<'_>,
    now_ms: i64,
    limit: u32,
) -> Result<(Vec<RoomBehind>, Option<i64>), Error> {
    let params = [now_ms.into(), i64::from(limit).into()];
    let due = tx.query_all(&ROOMS_BEHIND, &params, |row| {
        Ok(RoomBehind {
            room: RoomNum(row.int(0)?),
            tries: row.int(1)?,
        })
    })?;
    let next = tx.query_one(&ROOMS_BEHIND_NEXT, &[], |row| row.opt_int(0))?;
    Ok((due, next.flatten()))
}

/// Others could not be asked of `room`; they are asked again at `due_at` (milliseconds since 1970).
///
/// # Errors
/// When the database fails.
pub fn room_put_off(tx: &mut Tx<'_>, room: RoomNum, due_at: i64) -> Result<(), Error> {
    tx.execute(&ROOM_PUT_OFF, &[room.into(), due_at.into()])
        .map(drop)
}

/// What others have of `room` last is here, or waits in the inbox.
///
/// # Errors
/// When the database fails.
pub fn room_caught_up(tx: &mut Tx<'_>, room: RoomNum) -> Result<(), Error> {
    tx.execute(&ROOM_CAUGHT_UP, &[room.into()]).map(drop)
}
