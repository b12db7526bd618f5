//! Backups of room keys: what clients encrypt and keep here, so that no message is lost with a device.
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

use starling_db::{Error, Row, Tx, Value};

use crate::numbers::{DeviceNum, UserNum};
use crate::restored::numbers_floor;

starling_db::statements! {
    /// The newest version that was ever given out, if any.
    BACKUP_LAST = "SELECT version FROM key_backups WHERE user_num = ?1 ORDER BY version DESC LIMIT 1";
    /// The newest backup.
    BACKUP_CURRENT = "SELECT version, algorithm, auth_data, etag, key_count FROM key_backups
        WHERE user_num = ?1 AND is_deleted = 0 ORDER BY version DESC LIMIT 1";
    /// A backup.
    BACKUP_READ = "SELECT version, algorithm, auth_data, etag, key_count FROM key_backups
        WHERE user_num = ?1 AND version = ?2 AND is_deleted = 0";
    /// A new backup.
    BACKUP_INSERT = "INSERT INTO key_backups (user_num, version, algorithm, auth_data, etag, key_count, is_deleted)
        VALUES (?1, ?2, ?3, ?4, 0, 0, 0)";
    /// What a backup says of how its keys are encrypted.
    BACKUP_SET_AUTH = "UPDATE key_backups SET auth_data = ?3 WHERE user_num = ?1 AND version = ?2 AND is_deleted = 0";
    /// The keys of a backup have changed.
    BACKUP_CHANGED = "UPDATE key_backups SET etag = etag + 1, key_count = key_count + ?3, byte_count = byte_count + ?4
        WHERE user_num = ?1 AND version = ?2";
    /// The end of a backup.
    BACKUP_DELETE = "UPDATE key_backups SET is_deleted = 1, algorithm = ?3, auth_data = ?3
        WHERE user_num = ?1 AND version = ?2 AND is_deleted = 0";
    /// The end of all backups of a user.
    BACKUPS_DELETE_OF_USER = "UPDATE key_backups SET is_deleted = 1, algorithm = ?2, auth_data = ?2
        WHERE user_num = ?1 AND is_deleted = 0";
    /// The oldest backups of who has too many.
    BACKUPS_BEYOND = "SELECT version FROM key_backups WHERE user_num = ?1 AND is_deleted = 0
        ORDER BY version DESC LIMIT 100 OFFSET ?2";
    /// Deleted backups that still have keys.
    BACKUPS_TO_EMPTY = "SELECT user_num, version FROM key_backups WHERE is_deleted = 1 AND key_count > 0
        ORDER BY user_num, version LIMIT ?1";
    /// Whether a device is to be told to look again.
    BACKUP_DOUBT = "SELECT 1 FROM devices WHERE device_num = ?1 AND backup_in_doubt = 1";
    /// Its first upload is refused, and so is that one when it is repeated.
    BACKUP_REFUSE = "UPDATE devices SET backup_refused = ?2, backup_refusals = backup_refusals + 1
        WHERE device_num = ?1 AND backup_in_doubt = 1
            AND (backup_refusals = 0 OR backup_refused = ?2 AND backup_refusals < ?3)";
    /// A device has been told.
    BACKUP_TRUST = "UPDATE devices SET backup_in_doubt = 0 WHERE device_num = ?1";
    /// What begins anew is in no doubt.
    BACKUPS_TRUST_OF_USER = "UPDATE devices SET backup_in_doubt = 0 WHERE user_num = ?1 AND backup_in_doubt = 1";
    /// How long all keys of a user are together.
    BACKUPS_BYTES = "SELECT CAST(COALESCE(SUM(byte_count), 0) AS BIGINT) FROM key_backups WHERE user_num = ?1";
    /// How many of some keys are there, and how long these are.
    KEYS_COUNT = "SELECT COUNT(*),
            CAST(COALESCE(SUM(length(kept.room_id) + length(kept.session_id) + length(kept.session_data)), 0) AS BIGINT)
        FROM {zip blobs ?3 blobs ?4} AS wanted CROSS JOIN backed_up_keys AS kept
        WHERE kept.user_num = ?1 AND kept.version = ?2 AND kept.room_id = wanted.c1 AND kept.session_id = wanted.c2";
    /// Keeps keys: of those that are there already, the better ones.
    KEYS_PUT = "INSERT INTO backed_up_keys
            (user_num, version, room_id, session_id, is_verified, first_message_index, forwarded_count, session_data)
        SELECT ?1, ?2, c1, c2, c3, c4, c5, c6
            FROM {zip blobs ?3 blobs ?4 ints ?5 ints ?6 ints ?7 blobs ?8} AS keys WHERE 1 = 1
        ON CONFLICT (user_num, version, room_id, session_id) DO UPDATE SET
            is_verified = excluded.is_verified, first_message_index = excluded.first_message_index,
            forwarded_count = excluded.forwarded_count, session_data = excluded.session_data
        WHERE (excluded.is_verified, backed_up_keys.first_message_index, backed_up_keys.forwarded_count)
            > (backed_up_keys.is_verified, excluded.first_message_index, excluded.forwarded_count)";
    /// One key.
    KEY_READ = "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count, session_data
        FROM backed_up_keys WHERE user_num = ?1 AND version = ?2 AND room_id = ?3 AND session_id = ?4";
    /// The next keys of a room.
    KEYS_OF_ROOM = "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count, session_data
        FROM backed_up_keys WHERE user_num = ?1 AND version = ?2 AND room_id = ?3 AND session_id > ?4
        ORDER BY session_id LIMIT ?5";
    /// The next keys of all rooms.
    KEYS_OF_ALL = "SELECT room_id, session_id, is_verified, first_message_index, forwarded_count, session_data
        FROM backed_up_keys WHERE user_num = ?1 AND version = ?2 AND (room_id, session_id) > (?3, ?4)
        ORDER BY room_id, session_id LIMIT ?5";
    /// The end of a key.
    KEY_DELETE = "DELETE FROM backed_up_keys WHERE user_num = ?1 AND version = ?2 AND room_id = ?3 AND session_id = ?4
        RETURNING CAST(length(room_id) + length(session_id) + length(session_data) AS BIGINT)";
    /// The end of some keys of a room.
    KEYS_DELETE_OF_ROOM = "DELETE FROM backed_up_keys WHERE user_num = ?1 AND version = ?2 AND room_id = ?3
        AND session_id IN (SELECT session_id FROM backed_up_keys WHERE user_num = ?1 AND version = ?2 AND room_id = ?3
            ORDER BY session_id LIMIT ?4)
        RETURNING CAST(length(room_id) + length(session_id) + length(session_data) AS BIGINT)";
    /// The end of some keys of all rooms.
    KEYS_DELETE_OF_ALL = "DELETE FROM backed_up_keys WHERE user_num = ?1 AND version = ?2
        AND (room_id, session_id) IN (SELECT room_id, session_id FROM backed_up_keys WHERE user_num = ?1 AND version = ?2
            ORDER BY room_id, session_id LIMIT ?3)
        RETURNING CAST(length(room_id) + length(session_id) + length(session_data) AS BIGINT)";
}

/// A backup, without its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Which of the user's it is: from 1 on.
    pub version: i64,
    /// How its keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs to know: a JSON object.
    pub auth_data: String,
    /// Another number whenever its keys have changed.
    pub etag: i64,
    /// How many keys it has.
    pub count: i64,
}

/// A key in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUpKey {
    /// The room that it is for, as the client named it.
    pub room_id: String,
    /// The session that it is of.
    pub session_id: String,
    /// Whether the device that backed it up has verified the one that it is from.
    pub is_verified: bool,
    /// The first message that it decrypts.
    pub first_message_index: i64,
    /// How often it was forwarded between devices.
    pub forwarded_count: i64,
    /// The key, encrypted: a JSON object.
    pub session_data: String,
}

/// Which keys of a backup are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyScope {
    /// All.
    All,
    /// Those of one room.
    Room(String),
    /// One of a room: of this session.
    Session(String, String),
}

/// A user's newest backup.
///
/// # Errors
/// When the database cannot be read.
pub fn backup_current(tx: &mut Tx<'_>, user: UserNum) -> Result<Option<Backup>, Error> {
    tx.query_one(&BACKUP_CURRENT, &[user.into()], backup)
}

/// A user's backup of this version, unless it was deleted.
///
/// # Errors
/// When the database cannot be read.
pub fn backup_read(tx: &mut Tx<'_>, user: UserNum, version: i64) -> Result<Option<Backup>, Error> {
    tx.query_one(&BACKUP_READ, &[user.into(), version.into()], backup)
}

/// The last version that was given out to a user; 0 when none was.
///
/// # Errors
/// When the database cannot be read.
pub fn backup_last_version(tx: &mut Tx<'_>, user: UserNum) -> Result<i64, Error> {
    let last = tx.query_one(&BACKUP_LAST, &[user.into()], |row| row.int(0))?;
    Ok(last.unwrap_or(0))
}

/// Whether `device` may believe that keys are backed up which are not (see [`crate::restored`]), and hasn't been told so.
///
/// # Errors
/// When the database cannot be read.
pub fn backup_doubt(tx: &mut Tx<'_>, device: DeviceNum) -> Result<bool, Error> {
    let doubt = tx.query_one(&BACKUP_DOUBT, &[device.into()], |_| Ok(()))?;
    Ok(doubt.is_some())
}

/// Whether an upload of a device in doubt is to be refused: its first one, also when that is repeated, `most` times in all. With
/// any other the doubt ends.
///
/// # Errors
/// When the database fails.
pub fn backup_refuse(
    tx: &mut Tx<'_>,
    device: DeviceNum,
    upload_hash: i64,
    most: i64,
) -> Result<bool, Error> {
    let params = [device.into(), upload_hash.into(), most.into()];
    let is_refused = tx.execute(&BACKUP_REFUSE, &params)? == 1;
    if !is_refused {
        tx.execute(&BACKUP_TRUST, &[device.into()])?;
    }
    Ok(is_refused)
}

/// Begins a backup: its version. Of who has more than `most` backups, the oldest are deleted. Devices learn of it, and are in no
/// doubt about what is in it.
///
/// # Errors
/// When the database fails.
pub fn backup_insert(
    tx: &mut Tx<'_>,
    user: UserNum,
    (algorithm, auth_data): (&str, &str),
    most: u32,
) -> Result<i64, Error> {
    // Clients may know another by a number between.
    let version = backup_last_version(tx, user)?.max(numbers_floor(tx)?) + 1;
    let params = [
        user.into(),
        version.into(),
        algorithm.as_bytes().into(),
        auth_data.as_bytes().into(),
    ];
    tx.execute_one(&BACKUP_INSERT, &params)?;
    tx.execute(&BACKUPS_TRUST_OF_USER, &[user.into()])?;
    let params = [user.into(), i64::from(most).into()];
    let beyond = tx.query_all(&BACKUPS_BEYOND, &params, |row| row.int(0))?;
    // One at most, as each new one deletes what the last one left.
    for old in beyond {
        backup_delete(tx, user, old)?;
    }
    Ok(version)
}

/// Changes what a backup's algorithm needs to know. False when there is no such backup.
///
/// # Errors
/// When the database fails.
pub fn backup_set_auth_data(
    tx: &mut Tx<'_>,
    user: UserNum,
    version: i64,
    auth_data: &str,
) -> Result<bool, Error> {
    let params = [user.into(), version.into(), auth_data.as_bytes().into()];
    Ok(tx.execute(&BACKUP_SET_AUTH, &params)? == 1)
}

/// Deletes a backup; its keys are left to [`backups_to_empty`]. False when there is none of this version (any longer).
///
/// # Errors
/// When the database fails.
pub fn backup_delete(tx: &mut Tx<'_>, user: UserNum, version: i64) -> Result<bool, Error> {
    let params = [user.into(), version.into(), Value::Bytes(b"")];
    Ok(tx.execute(&BACKUP_DELETE, &params)? == 1)
}

/// Deletes all backups of `user`; their keys are left to [`backups_to_empty`].
///
/// # Errors
/// When the database fails.
pub fn backups_delete_of_user(tx: &mut Tx<'_>, user: UserNum) -> Result<(), Error> {
    tx.execute(&BACKUPS_DELETE_OF_USER, &[user.into(), Value::Bytes(b"")])
        .map(drop)
}

/// Deleted backups that still have keys, at most `limit`.
///
/// # Errors
/// When the database cannot be read.
pub fn backups_to_empty(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<(UserNum, i64)>, Error> {
    tx.query_all(&BACKUPS_TO_EMPTY, &[i64::from(limit).into()], |row| {
        Ok((UserNum(row.int(0)?), row.int(1)?))
    })
}

/// Keeps keys in a backup, each of another session; of a session that has one already, the better of both: verified rather
/// than not, then from an earlier message on, then less often forwarded.
///
/// # Errors
/// When the database fails.
pub fn keys_put(
    tx: &mut Tx<'_>,
    user: UserNum,
    version: i64,
    keys: &[BackedUpKey],
) -> Result<(), Error> {
    let ints = |of: fn(&BackedUpKey) -> i64| keys.iter().map(of).collect::<Vec<i64>>();
    let texts = |of: fn(&BackedUpKey) -> &String| {
        let texts = keys.iter().map(|key| of(key).as_bytes());
        texts.collect::<Vec<&[u8]>>()
    };
    let (rooms, sessions) = (texts(|key| &key.room_id), texts(|key| &key.session_id));
    let named = [
        user.into(),
        version.into(),
        Value::Blobs(&rooms),
        Value::Blobs(&sessions),
    ];
    let before = keys_count(tx, &named)?;
    let (verified, indexes, forwarded) = (
        ints(|key| i64::from(key.is_verified)),
        ints(|key| key.first_message_index),
        ints(|key| key.forwarded_count),
    );
    let data = texts(|key| &key.session_data);
    let [user, version, rooms, sessions] = named;
    let params = [
        user,
        version,
        rooms,
        sessions,
        Value::Ints(&verified),
        Value::Ints(&indexes),
        Value::Ints(&forwarded),
        Value::Blobs(&data),
    ];
    if tx.execute(&KEYS_PUT, &params)? > 0 {
        let after = keys_count(tx, &named)?;
        let (keys, bytes) = (after.0 - before.0, after.1 - before.1);
        let params = [user, version, keys.into(), bytes.into()];
        tx.execute_one(&BACKUP_CHANGED, &params)?;
    }
    Ok(())
}

/// How many of the named keys are there, and how long these are.
fn keys_count(tx: &mut Tx<'_>, named: &[Value<'_>]) -> Result<(i64, i64), Error> {
    let count = tx.query_one(&KEYS_COUNT, named, |row| Ok((row.int(0)?, row.int(1)?)))?;
    Ok(count.unwrap_or_default())
}

/// How long the keys in all backups of `user` are together, in bytes; those of deleted backups count until they are gone.
///
/// # Errors
/// When the database cannot be read.
pub fn backups_bytes(tx: &mut Tx<'_>, user: UserNum) -> Result<i64, Error> {
    let bytes = tx.query_one(&BACKUPS_BYTES, &[user.into()], |row| row.int(0))?;
    Ok(bytes.unwrap_or(0))
}

/// The next keys of a backup, at most `limit`, ordered by room and session: those after a room and session.
///
/// # Errors
/// When the database cannot be read.
pub fn keys_read(
    tx: &mut Tx<'_>,
    (user, version): (UserNum, i64),
    scope: &KeyScope,
    (after_room, after_session): (&str, &str),
    limit: u32,
) -> Result<Vec<BackedUpKey>, Error> {
    let (user, version) = (user.into(), version.into());
    let (after, limit) = (after_session.as_bytes().into(), i64::from(limit).into());
    match scope {
        KeyScope::All => {
            let params = [user, version, after_room.as_bytes().into(), after, limit];
            tx.query_all(&KEYS_OF_ALL, &params, key)
        }
        KeyScope::Room(room) => {
            let params = [user, version, room.as_bytes().into(), after, limit];
            tx.query_all(&KEYS_OF_ROOM, &params, key)
        }
        KeyScope::Session(room, session) => {
            let named = (room.as_bytes().into(), session.as_bytes().into());
            tx.query_all(&KEY_READ, &[user, version, named.0, named.1], key)
        }
    }
}

/// Deletes keys of a backup, at most `most`. How many it deleted.
///
/// # Errors
/// When the database fails.
pub fn keys_delete(
    tx: &mut Tx<'_>,
    (user, version): (UserNum, i64),
    scope: &KeyScope,
    most: u32,
) -> Result<u64, Error> {
    let (user, version, limit) = (user.into(), version.into(), i64::from(most).into());
    let (statement, params) = match scope {
        KeyScope::All => (&KEYS_DELETE_OF_ALL, vec![user, version, limit]),
        KeyScope::Room(room) => {
            let room = room.as_bytes().into();
            (&KEYS_DELETE_OF_ROOM, vec![user, version, room, limit])
        }
        KeyScope::Session(room, session) => {
            let named = (room.as_bytes().into(), session.as_bytes().into());
            (&KEY_DELETE, vec![user, version, named.0, named.1])
        }
    };
    let gone = tx.query_all(statement, &params, |row| row.int(0))?;
    let (keys, bytes) = (gone.len(), gone.iter().sum::<i64>());
    if keys > 0 {
        let less = -i64::try_from(keys).unwrap_or(i64::MAX);
        let params = [user, version, less.into(), (-bytes).into()];
        tx.execute_one(&BACKUP_CHANGED, &params)?;
    }
    Ok(u64::try_from(keys).unwrap_or(u64::MAX))
}

fn backup(row: &dyn Row) -> Result<Backup, Error> {
    Ok(Backup {
        version: row.int(0)?,
        algorithm: row.utf8(1)?.to_owned(),
        auth_data: row.utf8(2)?.to_owned(),
        etag: row.int(3)?,
        count: row.int(4)?,
    })
}

fn key(row: &dyn Row) -> Result<BackedUpKey, Error> {
    Ok(BackedUpKey {
        room_id: row.utf8(0)?.to_owned(),
        session_id: row.utf8(1)?.to_owned(),
        is_verified: row.truth(2)?,
        first_message_index: row.int(3)?,
        forwarded_count: row.int(4)?,
        session_data: row.utf8(5)?.to_owned(),
    })
}
