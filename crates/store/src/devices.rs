//! Devices, their access and refresh tokens, and the log of sessions that ended.
//!
//! A session is a device with an access token. Tokens are known here by their SHA-256 hash only.
//!
//! A refresh token is given out with an access token, and is good for another pair. The old pair ends when one of the new
//! one is first used, so that a client that missed the answer can ask again; until then the new access token says what it
//! `replaces`. The old access token then counts as expired until the next one does: who has asked with it meanwhile is told
//! to come with the new one, and not that the session is over.

use std::sync::Arc;

use ruma_common::OwnedUserId;
use starling_db::{Error, Row, Sql, Tx, Value};

use crate::accounts::{AccountKind, read_user_id};
use crate::device_keys::{device_keys_delete, user_keys_delete};
use crate::numbers::{DeviceNum, UserNum};
use crate::pushers::{pusher_delete_of_user, pushers_delete_of_devices};
use crate::to_device::{to_device_delete_of_devices, to_device_delete_of_user};

starling_db::statements! {
    /// A device, made unless it is there; one that is there keeps its name, and is not dehydrated any longer.
    DEVICE_UPSERT = "INSERT INTO devices (user_num, device_id, display_name, created_at) VALUES (?1, ?2, ?3, ?4) \
        ON CONFLICT (user_num, device_id) DO UPDATE SET dehydrated = NULL RETURNING device_num";
    /// A user's devices.
    DEVICE_LIST = "SELECT device_num, device_id, display_name, last_seen_at, last_seen_ip FROM devices \
        WHERE user_num = ?1 ORDER BY device_num";
    /// When and from where a device was last seen.
    DEVICE_SEEN = "UPDATE devices SET last_seen_at = ?2, last_seen_ip = ?3 WHERE device_num = ?1";
    /// The end of devices.
    DEVICES_DELETE = "DELETE FROM devices WHERE device_num IN {ints ?1}";
    /// The end of a user's devices but one.
    DEVICE_DELETE_OF_USER = "DELETE FROM devices WHERE user_num = ?1 AND device_num <> ?2";
    /// A user's device by its id.
    DEVICE_FIND = "SELECT device_num, device_id, display_name, last_seen_at, last_seen_ip FROM devices \
        WHERE user_num = ?1 AND device_id = ?2";
    /// Another name for a device.
    DEVICE_RENAME = "UPDATE devices SET display_name = ?3 WHERE user_num = ?1 AND device_id = ?2";
    /// A new access token.
    TOKEN_INSERT = "INSERT INTO access_tokens (hash, user_num, device_num, created_at, expires_at, replaces) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    /// Whose access token it is.
    TOKEN_FIND = "SELECT t.user_num, u.user_id, t.device_num, d.device_id, a.kind, a.is_admin, d.last_seen_at, \
        a.locked_at, a.suspended_at, t.expires_at, t.replaces FROM access_tokens t JOIN devices d ON d.device_num = t.device_num \
        JOIN accounts a ON a.user_num = t.user_num JOIN users u ON u.user_num = t.user_num \
        WHERE t.hash = ?1 AND a.deactivated_at IS NULL";
    /// A device's access tokens.
    TOKEN_LIST_OF_DEVICE = "SELECT hash FROM access_tokens WHERE device_num = ?1";
    /// A user's access tokens but those of one device.
    TOKEN_LIST_OF_USER = "SELECT device_num, hash FROM access_tokens WHERE user_num = ?1 AND device_num <> ?2 \
        ORDER BY device_num";
    /// The access tokens of some devices.
    TOKEN_LIST_OF_DEVICES = "SELECT device_num, hash FROM access_tokens WHERE device_num IN {ints ?1} ORDER BY device_num";
    /// The end of devices' access tokens.
    TOKEN_DELETE_OF_DEVICES = "DELETE FROM access_tokens WHERE device_num IN {ints ?1}";
    /// The end of a user's access tokens but those of one device.
    TOKEN_DELETE_OF_USER = "DELETE FROM access_tokens WHERE user_num = ?1 AND device_num <> ?2";
    /// What an access token replaces.
    TOKEN_REPLACES = "SELECT replaces FROM access_tokens WHERE hash = ?1";
    /// An access token that was used replaces nothing any longer.
    TOKEN_CONFIRM = "UPDATE access_tokens SET replaces = NULL WHERE hash = ?1";
    /// The access tokens that are to replace the pair of a refresh token.
    TOKEN_LIST_REPLACING = "SELECT hash FROM access_tokens WHERE device_num = ?1 AND replaces = ?2";
    /// An access token that has expired, whatever the clock says.
    TOKEN_EXPIRE = "UPDATE access_tokens SET expires_at = 0 WHERE hash = ?1";
    /// The end of an access token.
    TOKEN_DELETE = "DELETE FROM access_tokens WHERE hash = ?1";
    /// A new refresh token.
    REFRESH_INSERT = "INSERT INTO refresh_tokens (hash, user_num, device_num, access_hash, created_at) \
        VALUES (?1, ?2, ?3, ?4, ?5)";
    /// Whose refresh token it is.
    REFRESH_FIND = "SELECT r.user_num, r.device_num, r.access_hash, a.locked_at FROM refresh_tokens r \
        JOIN accounts a ON a.user_num = r.user_num WHERE r.hash = ?1 AND a.deactivated_at IS NULL";
    /// The end of a refresh token.
    REFRESH_DELETE = "DELETE FROM refresh_tokens WHERE hash = ?1";
    /// The end of the refresh token that was given out with an access token.
    REFRESH_DELETE_OF_TOKEN = "DELETE FROM refresh_tokens WHERE device_num = ?1 AND access_hash = ?2";
    /// The end of devices' refresh tokens.
    REFRESH_DELETE_OF_DEVICES = "DELETE FROM refresh_tokens WHERE device_num IN {ints ?1}";
    /// The end of a user's refresh tokens but those of one device.
    REFRESH_DELETE_OF_USER = "DELETE FROM refresh_tokens WHERE user_num = ?1 AND device_num <> ?2";
    /// A session that ended.
    REVOCATION_INSERT = "INSERT INTO session_revocations (position, user_num, device_num) VALUES (?1, ?2, ?3)";
    /// The sessions that ended within a stretch of the log.
    REVOCATION_LIST = "SELECT position, user_num, device_num FROM session_revocations \
        WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3";
}

/// The SHA-256 hash of a token.
pub type TokenHash = [u8; 32];

/// No device has this number.
const NO_DEVICE: DeviceNum = DeviceNum(0);

/// A user's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub device: DeviceNum,
    /// Its id, unique among the user's.
    pub device_id: String,
    /// Its name for humans.
    pub display_name: Option<String>,
    /// Milliseconds since 1970.
    pub last_seen_at: Option<i64>,
    /// The address it was last seen at.
    pub last_seen_ip: Option<String>,
}

/// Whose an access token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOwner {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: OwnedUserId,
    /// The device.
    pub device: DeviceNum,
    /// The device's id.
    pub device_id: Arc<str>,
    /// User or guest.
    pub kind: AccountKind,
    /// Whether the user is an administrator of this server.
    pub is_admin: bool,
    /// When the device was last seen: milliseconds since 1970.
    pub last_seen_at: Option<i64>,
    /// Since when the account is locked: milliseconds since 1970.
    pub locked_at: Option<i64>,
    /// Since when the account is suspended: milliseconds since 1970.
    pub suspended_at: Option<i64>,
    /// When the token expires: milliseconds since 1970; `None` is never.
    pub expires_at: Option<i64>,
    /// The refresh token that it was got for, until it is first used.
    pub replaces: Option<TokenHash>,
}

/// An access token that is to be, and the refresh token that is given out with it.
#[derive(Debug, Clone)]
pub struct NewTokens {
    /// The access token.
    pub access: TokenHash,
    /// When it expires: milliseconds since 1970; `None` is never.
    pub expires_at: Option<i64>,
    /// The refresh token.
    pub refresh: Option<TokenHash>,
    /// The refresh token that these were got for.
    pub replaces: Option<TokenHash>,
}

/// Whose a refresh token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshOwner {
    /// The user.
    pub user: UserNum,
    /// The device.
    pub device: DeviceNum,
    /// The access token that was given out with it.
    pub access: TokenHash,
    /// Whether the account is locked.
    pub is_locked: bool,
}

/// A device whose session ended, with the tokens that are no longer valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    /// The device.
    pub device: DeviceNum,
    /// Its tokens until now; none if it had no session.
    pub tokens: Vec<TokenHash>,
}

/// What ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Sessions, each of another device.
    pub sessions: Vec<EndedSession>,
    /// The ids of devices that are gone and had keys, by which others know them.
    pub devices: Vec<String>,
}

impl From<EndedSession> for Ended {
    fn from(session: EndedSession) -> Self {
        Self {
            sessions: vec![session],
            devices: Vec::new(),
        }
    }
}

/// A session that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub position: i64,
    /// The user.
    pub user: UserNum,
    /// The device.
    pub device: DeviceNum,
}

/// The device of `user` with this id, made at `now_ms` and called `display_name` if there is none yet.
///
/// # Errors
/// When the database fails.
pub fn device_upsert(
    tx: &mut Tx<'_>,
    user: UserNum,
    device_id: &str,
    display_name: Option<&str>,
    now_ms: i64,
) -> Result<DeviceNum, Error> {
    let params = [
        user.into(),
        device_id.as_bytes().into(),
        display_name.map(str::as_bytes).into(),
        now_ms.into(),
    ];
    tx.execute_returning(&DEVICE_UPSERT, &params, |row| Ok(DeviceNum(row.int(0)?)))?
        .ok_or_else(|| Error::Damaged("a device was not stored".to_owned()))
}

/// The devices of `user`, oldest first.
///
/// # Errors
/// When the database cannot be read.
pub fn device_list(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<Device>, Error> {
    tx.query_all(&DEVICE_LIST, &[user.into()], read_device)
}

/// The device of `user` with this id.
///
/// # Errors
/// When the database cannot be read.
pub fn device_find(
    tx: &mut Tx<'_>,
    user: UserNum,
    device_id: &str,
) -> Result<Option<Device>, Error> {
    let params = [user.into(), device_id.as_bytes().into()];
    tx.query_one(&DEVICE_FIND, &params, read_device)
}

/// Gives the device of `user` with this id another name, or none. False when there is no such device.
///
/// # Errors
/// When the database fails.
pub fn device_rename(
    tx: &mut Tx<'_>,
    user: UserNum,
    device_id: &str,
    display_name: Option<&str>,
) -> Result<bool, Error> {
    let params = [
        user.into(),
        device_id.as_bytes().into(),
        display_name.map(str::as_bytes).into(),
    ];
    Ok(tx.execute(&DEVICE_RENAME, &params)? == 1)
}

/// Notes that `device` was seen at `now_ms`. A device that is gone stays so.
///
/// # Errors
/// When the database fails.
pub fn device_seen(
    tx: &mut Tx<'_>,
    device: DeviceNum,
    now_ms: i64,
    address: Option<&str>,
) -> Result<(), Error> {
    tx.execute(
        &DEVICE_SEEN,
        &[device.into(), now_ms.into(), address.into()],
    )?;
    Ok(())
}

/// Deletes `device`, its access tokens, its pushers, its keys and what was sent to it.
///
/// # Errors
/// When the database fails.
pub fn device_delete(tx: &mut Tx<'_>, device: DeviceNum) -> Result<Ended, Error> {
    devices_delete(tx, &[device])
}

/// As [`device_delete`], of several. The answer holds those that had a session.
///
/// # Errors
/// When the database fails.
pub fn devices_delete(tx: &mut Tx<'_>, devices: &[DeviceNum]) -> Result<Ended, Error> {
    let devices: Vec<i64> = devices.iter().map(|device| device.0).collect();
    let sessions = tokens_delete(tx, &devices)?;
    let known = device_keys_delete(tx, &devices)?;
    to_device_delete_of_devices(tx, &devices)?;
    tx.execute(&DEVICES_DELETE, &[Value::Ints(&devices)])?;
    Ok(Ended {
        sessions,
        devices: known,
    })
}

/// Deletes the access and refresh tokens and the pushers of `device`, which stays.
///
/// # Errors
/// When the database fails.
pub fn device_tokens_delete(tx: &mut Tx<'_>, device: DeviceNum) -> Result<EndedSession, Error> {
    let ended = tokens_delete(tx, &[device.0])?.pop();
    Ok(ended.unwrap_or(EndedSession {
        device,
        tokens: Vec::new(),
    }))
}

/// Deletes tokens and pushers of some devices. The answer are those that had a session.
fn tokens_delete(tx: &mut Tx<'_>, devices: &[i64]) -> Result<Vec<EndedSession>, Error> {
    let params = [Value::Ints(devices)];
    pushers_delete_of_devices(tx, devices)?;
    let sessions = sessions(tx, &TOKEN_LIST_OF_DEVICES, &params)?;
    if !sessions.is_empty() {
        tx.execute(&TOKEN_DELETE_OF_DEVICES, &params)?;
        tx.execute(&REFRESH_DELETE_OF_DEVICES, &params)?;
    }
    Ok(sessions)
}

fn device_tokens(tx: &mut Tx<'_>, device: DeviceNum) -> Result<Vec<TokenHash>, Error> {
    tx.query_all(&TOKEN_LIST_OF_DEVICE, &[device.into()], |row| {
        read_hash(row, 0)
    })
}

/// Deletes all devices of `user`, but `keep`, and their access tokens, pushers, keys and what was sent to them. The answer
/// holds those that had a session.
///
/// # Errors
/// When the database fails.
pub fn user_devices_delete(
    tx: &mut Tx<'_>,
    user: UserNum,
    keep: Option<DeviceNum>,
) -> Result<Ended, Error> {
    let sessions = user_sessions(tx, user, keep)?;
    pusher_delete_of_user(tx, user, keep.unwrap_or(NO_DEVICE))?;
    let devices = user_keys_delete(tx, user, keep.unwrap_or(NO_DEVICE))?;
    to_device_delete_of_user(tx, user, keep.unwrap_or(NO_DEVICE))?;
    let params = [user.into(), keep.unwrap_or(NO_DEVICE).into()];
    tx.execute(&TOKEN_DELETE_OF_USER, &params)?;
    tx.execute(&REFRESH_DELETE_OF_USER, &params)?;
    tx.execute(&DEVICE_DELETE_OF_USER, &params)?;
    Ok(Ended { sessions, devices })
}

/// The sessions of `user` but that of `but`, with their access tokens; they go on.
///
/// # Errors
/// When the database cannot be read.
pub fn user_sessions(
    tx: &mut Tx<'_>,
    user: UserNum,
    but: Option<DeviceNum>,
) -> Result<Vec<EndedSession>, Error> {
    let params = [user.into(), but.unwrap_or(NO_DEVICE).into()];
    sessions(tx, &TOKEN_LIST_OF_USER, &params)
}

/// Devices with their access tokens, which a statement finds device by device.
fn sessions(
    tx: &mut Tx<'_>,
    statement: &'static Sql,
    params: &[Value<'_>],
) -> Result<Vec<EndedSession>, Error> {
    let mut sessions: Vec<EndedSession> = Vec::new();
    tx.query(statement, params, &mut |row| {
        let (device, hash) = (DeviceNum(row.int(0)?), read_hash(row, 1)?);
        match sessions.last_mut() {
            Some(last) if last.device == device => last.tokens.push(hash),
            _ => sessions.push(EndedSession {
                device,
                tokens: vec![hash],
            }),
        }
        Ok(())
    })?;
    Ok(sessions)
}

/// Gives `device` of `user` an access token, and a refresh token if there is one.
///
/// # Errors
/// When the database fails.
pub fn tokens_insert(
    tx: &mut Tx<'_>,
    tokens: &NewTokens,
    user: UserNum,
    device: DeviceNum,
    now_ms: i64,
) -> Result<(), Error> {
    let access = tokens.access.as_slice();
    tx.execute_one(
        &TOKEN_INSERT,
        &[
            access.into(),
            user.into(),
            device.into(),
            now_ms.into(),
            tokens.expires_at.into(),
            tokens.replaces.as_ref().map(TokenHash::as_slice).into(),
        ],
    )?;
    let Some(refresh) = &tokens.refresh else {
        return Ok(());
    };
    tx.execute_one(
        &REFRESH_INSERT,
        &[
            refresh.as_slice().into(),
            user.into(),
            device.into(),
            access.into(),
            now_ms.into(),
        ],
    )
}

/// Whose the access token with this hash is; `None` when it is nobody's (any longer).
///
/// # Errors
/// When the database cannot be read.
pub fn token_find(tx: &mut Tx<'_>, hash: &TokenHash) -> Result<Option<TokenOwner>, Error> {
    tx.query_one(&TOKEN_FIND, &[hash.as_slice().into()], |row| {
        Ok(TokenOwner {
            user: UserNum(row.int(0)?),
            user_id: read_user_id(row, 1)?,
            device: DeviceNum(row.int(2)?),
            device_id: Arc::from(row.utf8(3)?),
            kind: AccountKind::from_code(row.int(4)?)?,
            is_admin: row.truth(5)?,
            last_seen_at: row.opt_int(6)?,
            locked_at: row.opt_int(7)?,
            suspended_at: row.opt_int(8)?,
            expires_at: row.opt_int(9)?,
            replaces: read_opt_hash(row, 10)?,
        })
    })
}

/// Whose the refresh token with this hash is; `None` when it is nobody's (any longer).
///
/// # Errors
/// When the database cannot be read.
pub fn refresh_find(tx: &mut Tx<'_>, hash: &TokenHash) -> Result<Option<RefreshOwner>, Error> {
    tx.query_one(&REFRESH_FIND, &[hash.as_slice().into()], |row| {
        Ok(RefreshOwner {
            user: UserNum(row.int(0)?),
            device: DeviceNum(row.int(1)?),
            access: read_hash(row, 2)?,
            is_locked: row.opt_int(3)?.is_some(),
        })
    })
}

/// Notes that an access token is used, or the refresh token that came with it: the pair that they replace ends. The answer
/// are the access tokens that are good no longer.
///
/// # Errors
/// When the database fails.
pub fn token_confirm(tx: &mut Tx<'_>, access: &TokenHash) -> Result<Vec<TokenHash>, Error> {
    let replaces = tx.query_one(&TOKEN_REPLACES, &[access.as_slice().into()], |row| {
        read_opt_hash(row, 0)
    })?;
    let Some(refresh) = replaces.flatten() else {
        return Ok(Vec::new());
    };
    tx.execute(&TOKEN_CONFIRM, &[access.as_slice().into()])?;
    let Some(old) = refresh_find(tx, &refresh)? else {
        return Ok(Vec::new());
    };
    tx.execute(&REFRESH_DELETE, &[refresh.as_slice().into()])?;
    let mut ended = device_tokens(tx, old.device)?;
    ended.retain(|token| token != access);
    for token in &ended {
        let is_latest = *token == old.access;
        let end = if is_latest {
            &TOKEN_EXPIRE
        } else {
            &TOKEN_DELETE
        };
        tx.execute(end, &[token.as_slice().into()])?;
    }
    Ok(ended)
}

/// Ends the pairs that were got for this refresh token of `device` before, and not used. The answer are their access
/// tokens.
///
/// # Errors
/// When the database fails.
pub fn replacements_delete(
    tx: &mut Tx<'_>,
    device: DeviceNum,
    refresh: &TokenHash,
) -> Result<Vec<TokenHash>, Error> {
    let params = [device.into(), refresh.as_slice().into()];
    let tokens = tx.query_all(&TOKEN_LIST_REPLACING, &params, |row| read_hash(row, 0))?;
    // One at most, as each refresh deletes what the last one made.
    for access in &tokens {
        tx.execute(&TOKEN_DELETE, &[access.as_slice().into()])?;
        let params = [device.into(), access.as_slice().into()];
        tx.execute(&REFRESH_DELETE_OF_TOKEN, &params)?;
    }
    Ok(tokens)
}

/// Logs that a session of `device` ended.
///
/// # Errors
/// When the database fails.
pub fn revocation_insert(
    tx: &mut Tx<'_>,
    position: i64,
    user: UserNum,
    device: DeviceNum,
) -> Result<(), Error> {
    tx.execute_one(
        &REVOCATION_INSERT,
        &[position.into(), user.into(), device.into()],
    )
}

/// The sessions that ended after `since` up to `upto`, the first `limit`: what a node that wasn't the one to end them
/// has to wake.
///
/// # Errors
/// When the database cannot be read.
pub fn revocation_list(
    tx: &mut Tx<'_>,
    since: i64,
    upto: i64,
    limit: u32,
) -> Result<Vec<Revocation>, Error> {
    let params = [since.into(), upto.into(), i64::from(limit).into()];
    tx.query_all(&REVOCATION_LIST, &params, |row| {
        Ok(Revocation {
            position: row.int(0)?,
            user: UserNum(row.int(1)?),
            device: DeviceNum(row.int(2)?),
        })
    })
}

fn read_device(row: &dyn Row) -> Result<Device, Error> {
    let display_name = match row.opt_bytes(2)? {
        Some(_) => Some(row.utf8(2)?.to_owned()),
        None => None,
    };
    Ok(Device {
        device: DeviceNum(row.int(0)?),
        device_id: row.utf8(1)?.to_owned(),
        display_name,
        last_seen_at: row.opt_int(3)?,
        last_seen_ip: row.opt_text(4)?.map(str::to_owned),
    })
}

fn read_opt_hash(row: &dyn Row, column: usize) -> Result<Option<TokenHash>, Error> {
    match row.opt_bytes(column)? {
        Some(_) => read_hash(row, column).map(Some),
        None => Ok(None),
    }
}

fn read_hash(row: &dyn Row, column: usize) -> Result<TokenHash, Error> {
    TokenHash::try_from(row.bytes(column)?)
        .map_err(|_| Error::Damaged("the hash of a token has another length".to_owned()))
}
