//! Lists of devices of users of other servers, as far as they are followed: whoever shares a room with a local user and was
//! asked for once. <https://spec.matrix.org/v1.19/server-server-api/#device-management>
//!
//! A list is trusted until something puts it in doubt: an update that doesn't follow the last one, or a user who left a room,
//! of whom updates may no longer come. Then it is stale, and fetched again; each doubt has a number, so that what was fetched
//! before the last one isn't taken for what holds after it.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedServerName, OwnedUserId, ServerName};
use starling_db::{Error, Tx, Value};

use crate::accounts::read_user_id;
use crate::numbers::UserNum;
use crate::room_servers::server_name;
use crate::rooms::RoomSnapshot;
use crate::store::Store;

starling_db::statements! {
    /// The lists of some users.
    LISTS = "SELECT lists.user_num, lists.stream_id, lists.is_stale, lists.version, lists.master_key, lists.self_signing_key
        FROM {ints ?1} AS wanted CROSS JOIN remote_device_lists AS lists WHERE lists.user_num = wanted.value";
    /// The devices of some users.
    DEVICES = "SELECT devices.user_num, devices.device_id, devices.keys, devices.display_name
        FROM {ints ?1} AS wanted CROSS JOIN remote_devices AS devices
        WHERE devices.user_num = wanted.value ORDER BY devices.user_num, devices.device_id";
    /// Follows users of a server from now on.
    LISTS_BEGIN = "INSERT INTO remote_device_lists (user_num, server, is_stale, version, retry_at)
        SELECT wanted.value, CAST(?2 AS TEXT), 1, 0, 0 FROM {ints ?1} AS wanted WHERE 1 = 1
        ON CONFLICT (user_num) DO NOTHING";
    /// What a list is as of some update.
    LIST_SET = "UPDATE remote_device_lists SET stream_id = ?2, is_stale = ?3, master_key = ?4, self_signing_key = ?5
        WHERE user_num = ?1";
    /// Puts lists in doubt.
    LISTS_DOUBT = "UPDATE remote_device_lists SET is_stale = 1, version = version + 1, retry_at = 0
        WHERE user_num IN {ints ?1}";
    /// Puts the lists of users in doubt, by their names.
    LISTS_DOUBT_NAMED = "UPDATE remote_device_lists SET is_stale = 1, version = version + 1, retry_at = 0
        WHERE user_num IN (SELECT users.user_num FROM {texts ?1} AS gone CROSS JOIN users WHERE users.user_id = gone.value)";
    /// Whether a local user is in a room.
    IS_ROOM_JOINED = "SELECT 1 FROM memberships WHERE room_num = ?1 AND membership = 2 LIMIT 1";
    /// Who is followed, of the servers in a room.
    FOLLOWED_IN_ROOM = "SELECT lists.user_num, users.user_id FROM room_servers AS servers
        CROSS JOIN remote_device_lists AS lists CROSS JOIN users
        WHERE servers.room_num = ?1 AND servers.until_position = 9223372036854775807
            AND lists.server = servers.server AND users.user_num = lists.user_num";
    /// A list is not fetched for a while.
    LIST_PUT_OFF = "UPDATE remote_device_lists SET retry_at = ?2 WHERE user_num = ?1";
    /// The end of some lists.
    LISTS_DELETE = "DELETE FROM remote_device_lists WHERE user_num IN {ints ?1}";
    /// And of their devices.
    LISTS_DEVICES_DELETE = "DELETE FROM remote_devices WHERE user_num IN {ints ?1}";
    /// The end of some devices of a user.
    DEVICES_DELETE = "DELETE FROM remote_devices WHERE user_num = ?1 AND device_id IN {blobs ?2}";
    /// How many devices a user has.
    DEVICE_COUNT = "SELECT COUNT(*) FROM remote_devices WHERE user_num = ?1";
    /// A device.
    DEVICE_SET = "INSERT INTO remote_devices (user_num, device_id, keys, display_name) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (user_num, device_id) DO UPDATE SET keys = excluded.keys, display_name = excluded.display_name";
    /// The servers of which lists are to be fetched.
    STALE_SERVERS = "SELECT DISTINCT server FROM remote_device_lists WHERE is_stale = 1 AND retry_at <= ?1 ORDER BY server";
    /// Some users of a server whose lists are to be fetched.
    STALE_USERS = "SELECT lists.user_num, users.user_id FROM remote_device_lists AS lists CROSS JOIN users
        WHERE lists.server = ?1 AND lists.is_stale = 1 AND lists.retry_at <= ?2 AND users.user_num = lists.user_num
        ORDER BY lists.user_num LIMIT ?3";
}

/// A list of devices, but for the devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteList {
    /// The last update that it includes; `None` until it was fetched.
    pub stream_id: Option<i64>,
    /// Whether it must be fetched.
    pub is_stale: bool,
    /// The number of the last doubt.
    pub version: i64,
    /// The user's master key, a JSON object.
    pub master_key: Option<String>,
    /// The user's self-signing key, a JSON object.
    pub self_signing_key: Option<String>,
}

/// A device of such a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteDevice {
    /// Its keys, a JSON object.
    pub keys: String,
    /// Its name for humans.
    pub display_name: Option<String>,
}

/// Devices by their ids.
pub type RemoteDevices = BTreeMap<String, RemoteDevice>;

/// The lists of those of `users` who are followed.
///
/// # Errors
/// When the database cannot be read.
pub fn remote_lists(
    tx: &mut Tx<'_>,
    users: &[UserNum],
) -> Result<BTreeMap<UserNum, RemoteList>, Error> {
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    let users = numbers(users);
    let lists = tx.query_all(&LISTS, &[Value::Ints(&users)], |row| {
        let list = RemoteList {
            stream_id: row.opt_int(1)?,
            is_stale: row.int(2)? != 0,
            version: row.int(3)?,
            master_key: opt_utf8(row, 4)?,
            self_signing_key: opt_utf8(row, 5)?,
        };
        Ok((UserNum(row.int(0)?), list))
    })?;
    Ok(lists.into_iter().collect())
}

/// The devices of those of `users` who are followed.
///
/// # Errors
/// When the database cannot be read.
pub fn remote_devices(
    tx: &mut Tx<'_>,
    users: &[UserNum],
) -> Result<BTreeMap<UserNum, RemoteDevices>, Error> {
    let mut found: BTreeMap<UserNum, RemoteDevices> = BTreeMap::new();
    if users.is_empty() {
        return Ok(found);
    }
    let users = numbers(users);
    tx.query(&DEVICES, &[Value::Ints(&users)], &mut |row| {
        let device = RemoteDevice {
            keys: row.utf8(2)?.to_owned(),
            display_name: opt_utf8(row, 3)?,
        };
        let of_user = found.entry(UserNum(row.int(0)?)).or_default();
        of_user.insert(row.utf8(1)?.to_owned(), device);
        Ok(())
    })?;
    Ok(found)
}

/// Follows `users` of `server`: their lists are stale until they are fetched.
///
/// # Errors
/// When the database fails.
pub fn remote_lists_begin(
    tx: &mut Tx<'_>,
    server: &ServerName,
    users: &[UserNum],
) -> Result<(), Error> {
    let users = numbers(users);
    let params = [Value::Ints(&users), server.as_str().into()];
    tx.execute(&LISTS_BEGIN, &params).map(drop)
}

/// Puts in place of what was known of the list of `user`: its keys, and as of which update. `list.version` is not looked at.
///
/// # Errors
/// When the database fails.
pub fn remote_list_set(tx: &mut Tx<'_>, user: UserNum, list: &RemoteList) -> Result<(), Error> {
    let bytes = |key: &'_ Option<String>| key.clone().map(String::into_bytes);
    let (master, self_signing) = (bytes(&list.master_key), bytes(&list.self_signing_key));
    let params = [
        user.into(),
        list.stream_id.into(),
        list.is_stale.into(),
        master.as_deref().into(),
        self_signing.as_deref().into(),
    ];
    tx.execute(&LIST_SET, &params).map(drop)
}

/// The lists of `users` may not hold any longer.
///
/// # Errors
/// When the database fails.
pub fn remote_lists_doubt(tx: &mut Tx<'_>, users: &[UserNum]) -> Result<(), Error> {
    if users.is_empty() {
        return Ok(());
    }
    let users = numbers(users);
    tx.execute(&LISTS_DOUBT, &[Value::Ints(&users)]).map(drop)
}

/// As [`remote_lists_doubt`], by the users' names.
pub(crate) fn remote_lists_doubt_named(tx: &mut Tx<'_>, users: &[&str]) -> Result<(), Error> {
    tx.execute(&LISTS_DOUBT_NAMED, &[Value::Texts(users)])
        .map(drop)
}

/// Doesn't fetch the list of `user` before `retry_at`, in milliseconds since 1970.
///
/// # Errors
/// When the database fails.
pub fn remote_list_put_off(tx: &mut Tx<'_>, user: UserNum, retry_at: i64) -> Result<(), Error> {
    tx.execute(&LIST_PUT_OFF, &[user.into(), retry_at.into()])
        .map(drop)
}

/// Follows `users` no longer.
///
/// # Errors
/// When the database fails.
pub fn remote_lists_delete(tx: &mut Tx<'_>, users: &[UserNum]) -> Result<(), Error> {
    if users.is_empty() {
        return Ok(());
    }
    let users = numbers(users);
    tx.execute(&LISTS_DEVICES_DELETE, &[Value::Ints(&users)])?;
    tx.execute(&LISTS_DELETE, &[Value::Ints(&users)]).map(drop)
}

/// Gives `user` a device, or other keys for one.
///
/// # Errors
/// When the database fails.
pub fn remote_device_set(
    tx: &mut Tx<'_>,
    user: UserNum,
    (device_id, device): (&str, &RemoteDevice),
) -> Result<(), Error> {
    let name = device.display_name.as_ref().map(String::as_bytes);
    let params = [
        user.into(),
        device_id.as_bytes().into(),
        device.keys.as_bytes().into(),
        name.into(),
    ];
    tx.execute_one(&DEVICE_SET, &params)
}

/// How many devices of `user` are in the list.
///
/// # Errors
/// When the database cannot be read.
pub fn remote_device_count(tx: &mut Tx<'_>, user: UserNum) -> Result<i64, Error> {
    let count = tx.query_one(&DEVICE_COUNT, &[user.into()], |row| row.int(0))?;
    Ok(count.unwrap_or(0))
}

/// Takes devices of `user` out of the list.
///
/// # Errors
/// When the database fails.
pub fn remote_devices_delete<'a>(
    tx: &mut Tx<'_>,
    user: UserNum,
    device_ids: impl IntoIterator<Item = &'a str>,
) -> Result<(), Error> {
    let ids: Vec<&[u8]> = device_ids.into_iter().map(str::as_bytes).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let params = [user.into(), Value::Blobs(&ids)];
    tx.execute(&DEVICES_DELETE, &params).map(drop)
}

/// The servers of which lists are to be fetched now, by their names.
///
/// # Errors
/// When the database cannot be read.
pub fn remote_lists_stale_servers(
    tx: &mut Tx<'_>,
    now_ms: i64,
) -> Result<Vec<OwnedServerName>, Error> {
    tx.query_all(&STALE_SERVERS, &[now_ms.into()], |row| {
        server_name(row.text(0)?)
    })
}

/// Users of `server` whose lists are to be fetched now, at most `limit`.
///
/// # Errors
/// When the database cannot be read.
pub fn remote_lists_stale(
    tx: &mut Tx<'_>,
    server: &ServerName,
    (now_ms, limit): (i64, u32),
) -> Result<Vec<(UserNum, OwnedUserId)>, Error> {
    let params = [
        server.as_str().into(),
        now_ms.into(),
        i64::from(limit).into(),
    ];
    tx.query_all(&STALE_USERS, &params, |row| {
        Ok((UserNum(row.int(0)?), read_user_id(row, 1)?))
    })
}

impl Store {
    /// A local user has left the room: if it was the last one, this server hears no longer of who is in it.
    pub(crate) fn remote_lists_doubt_if_left(
        &self,
        tx: &mut Tx<'_>,
        room: &RoomSnapshot,
    ) -> Result<(), Error> {
        let params: [Value<'_>; 1] = [room.room.into()];
        if tx
            .query_one(&IS_ROOM_JOINED, &params, |_| Ok(()))?
            .is_some()
        {
            return Ok(());
        }
        let followed = tx.query_all(&FOLLOWED_IN_ROOM, &params, |row| {
            Ok((UserNum(row.int(0)?), row.text(1)?.to_owned()))
        })?;
        let names: BTreeSet<&str> = followed.iter().map(|(_, name)| &**name).collect();
        let keys = self.names().keys(tx, names)?;
        let has_joined = |name: &str| keys.get(name).is_some_and(|key| room.has_joined(*key));
        let members = followed.iter().filter(|(_, name)| has_joined(name));
        let members: Vec<UserNum> = members.map(|(user, _)| *user).collect();
        remote_lists_doubt(tx, &members)
    }
}

fn numbers(users: &[UserNum]) -> Vec<i64> {
    users.iter().map(|user| user.0).collect()
}

fn opt_utf8(row: &dyn starling_db::Row, column: usize) -> Result<Option<String>, Error> {
    match row.opt_bytes(column)? {
        Some(_) => Ok(Some(row.utf8(column)?.to_owned())),
        None => Ok(None),
    }
}
