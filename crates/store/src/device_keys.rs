//! The identity keys of local users' devices. <https://spec.matrix.org/v1.19/client-server-api/#device-keys>
//!
//! They go with their device, in the same transaction, and so do its one-time and fallback keys.

use std::collections::BTreeMap;

use starling_db::{Error, Tx, Value};

use crate::cross_signing::signatures_delete;
use crate::numbers::{DeviceNum, UserNum};
use crate::one_time_keys::{KEYS_DELETE, KEYS_DELETE_OF_USER};

starling_db::statements! {
    /// The keys of a device.
    DEVICE_KEYS_READ = "SELECT keys FROM device_keys WHERE device_num = ?1";
    /// Other keys for a device that is there.
    DEVICE_KEYS_SET = "INSERT INTO device_keys (device_num, keys)
        SELECT device_num, CAST(?2 AS {bytes}) FROM devices WHERE device_num = ?1
        ON CONFLICT (device_num) DO UPDATE SET keys = excluded.keys";
    /// The end of devices' keys.
    DEVICE_KEYS_DELETE = "DELETE FROM device_keys WHERE device_num IN {ints ?1}";
    /// The end of the keys of a user's devices but one.
    DEVICE_KEYS_DELETE_OF_USER = "DELETE FROM device_keys WHERE device_num IN
        (SELECT device_num FROM devices WHERE user_num = ?1 AND device_num <> ?2)";
    /// Those of some devices that have keys: whose they are, and their ids.
    DEVICES_WITH_KEYS_OF = "SELECT devices.user_num, devices.device_id FROM {ints ?1} AS wanted CROSS JOIN devices
        JOIN device_keys ON device_keys.device_num = devices.device_num
        WHERE devices.device_num = wanted.value ORDER BY devices.device_num";
    /// A user's devices that have keys, but one.
    DEVICES_WITH_KEYS = "SELECT devices.device_id FROM devices
        JOIN device_keys ON device_keys.device_num = devices.device_num
        WHERE devices.user_num = ?1 AND devices.device_num <> ?2 ORDER BY devices.device_num";
    /// The devices of some users that have keys.
    DEVICE_KEYS_OF_USERS = "SELECT devices.user_num, devices.device_id, devices.display_name, device_keys.keys
        FROM {ints ?1} AS wanted CROSS JOIN devices
        JOIN device_keys ON device_keys.device_num = devices.device_num
        WHERE devices.user_num = wanted.value ORDER BY devices.user_num, devices.device_num";
}

/// A device's keys, as others are told of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    /// Whose device it is.
    pub user: UserNum,
    /// Its id.
    pub device_id: String,
    /// Its name for humans.
    pub display_name: Option<String>,
    /// A JSON object.
    pub keys: String,
}

/// The keys of `device` (a JSON object), if it has any.
///
/// # Errors
/// When the database cannot be read.
pub fn device_keys_read(tx: &mut Tx<'_>, device: DeviceNum) -> Result<Option<String>, Error> {
    tx.query_one(&DEVICE_KEYS_READ, &[device.into()], |row| {
        Ok(row.utf8(0)?.to_owned())
    })
}

/// Gives `device` other keys (a JSON object). False when the device is gone.
///
/// # Errors
/// When the database fails.
pub fn device_keys_set(tx: &mut Tx<'_>, device: DeviceNum, keys: &[u8]) -> Result<bool, Error> {
    let params = [device.into(), keys.into()];
    Ok(tx.execute(&DEVICE_KEYS_SET, &params)? == 1)
}

/// The devices of `users` that have keys, by their users.
///
/// # Errors
/// When the database cannot be read.
pub fn device_keys_of_users(tx: &mut Tx<'_>, users: &[UserNum]) -> Result<Vec<DeviceKeys>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    tx.query_all(&DEVICE_KEYS_OF_USERS, &[Value::Ints(&users)], |row| {
        let display_name = match row.opt_bytes(2)? {
            Some(_) => Some(row.utf8(2)?.to_owned()),
            None => None,
        };
        Ok(DeviceKeys {
            user: UserNum(row.int(0)?),
            device_id: row.utf8(1)?.to_owned(),
            display_name,
            keys: row.utf8(3)?.to_owned(),
        })
    })
}

/// Deletes all keys of `devices`, which are about to go. The answer are the ids of those that others knew by their keys: they
/// are to be told.
///
/// # Errors
/// When the database fails.
pub fn device_keys_delete(tx: &mut Tx<'_>, devices: &[i64]) -> Result<Vec<String>, Error> {
    let devices = [Value::Ints(devices)];
    let known = tx.query_all(&DEVICES_WITH_KEYS_OF, &devices, |row| {
        Ok((UserNum(row.int(0)?), row.utf8(1)?.to_owned()))
    })?;
    for delete in KEYS_DELETE {
        tx.execute(delete, &devices)?;
    }
    let mut by_user: BTreeMap<UserNum, Vec<&str>> = BTreeMap::new();
    for (user, device_id) in &known {
        by_user.entry(*user).or_default().push(device_id);
    }
    if !known.is_empty() {
        tx.execute(&DEVICE_KEYS_DELETE, &devices)?;
    }
    for (user, device_ids) in by_user {
        signatures_delete(tx, user, device_ids)?;
    }
    Ok(known.into_iter().map(|(_, device_id)| device_id).collect())
}

/// Deletes all keys of the devices of `user`, which are about to go, but for `keep` (`DeviceNum(0)`: of all). The answer are
/// the ids of those that others knew by their keys.
///
/// # Errors
/// When the database fails.
pub fn user_keys_delete(
    tx: &mut Tx<'_>,
    user: UserNum,
    keep: DeviceNum,
) -> Result<Vec<String>, Error> {
    let params = [user.into(), keep.into()];
    let known = tx.query_all(&DEVICES_WITH_KEYS, &params, |row| {
        Ok(row.utf8(0)?.to_owned())
    })?;
    for delete in KEYS_DELETE_OF_USER {
        tx.execute(delete, &params)?;
    }
    tx.execute(&DEVICE_KEYS_DELETE_OF_USER, &params)?;
    signatures_delete(tx, user, known.iter().map(String::as_str))?;
    Ok(known)
}
