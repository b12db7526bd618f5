//! Pushers: where users want to be told of events besides sync.
//! <https://spec.matrix.org/v1.19/client-server-api/#push-notifications>
//!
//! A pusher belongs to the device that set it, and goes with that device's session.

use starling_db::{Error, Row, Tx, Value};

use crate::numbers::{DeviceNum, UserNum};

starling_db::statements! {
    /// A new pusher, or another value of one.
    PUSHER_SET = "INSERT INTO pushers (user_num, app_id, pushkey, device_num, kind, app_display_name,
            device_display_name, profile_tag, lang, data, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (user_num, app_id, pushkey) DO UPDATE SET device_num = excluded.device_num, kind = excluded.kind,
            app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
            profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data";
    /// The pushers of a user.
    PUSHER_LIST = "SELECT app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data
        FROM pushers WHERE user_num = ?1 ORDER BY created_at, app_id, pushkey";
    /// The end of a pusher.
    PUSHER_DELETE = "DELETE FROM pushers WHERE user_num = ?1 AND app_id = ?2 AND pushkey = ?3";
    /// The end of the pushers that others have for the same app and key.
    PUSHER_DELETE_OF_OTHERS = "DELETE FROM pushers WHERE app_id = ?2 AND pushkey = ?3 AND user_num <> ?1";
    /// The end of devices' pushers.
    PUSHERS_DELETE_OF_DEVICES = "DELETE FROM pushers WHERE device_num IN {ints ?1}";
    /// The end of the pushers of all of a user's devices but one.
    PUSHER_DELETE_OF_USER = "DELETE FROM pushers WHERE user_num = ?1 AND device_num <> ?2";
}

/// A pusher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pusher {
    /// Which app it is, in reverse-DNS style.
    pub app_id: String,
    /// What the push gateway knows it by.
    pub pushkey: String,
    /// `http`
    pub kind: String,
    /// The app's name for people.
    pub app_display_name: String,
    /// The device's name for people.
    pub device_display_name: String,
    /// Which set of the device's rules it uses.
    pub profile_tag: Option<String>,
    /// The language for what people read.
    pub lang: String,
    /// For the push gateway: a JSON object.
    pub data: String,
}

/// Sets a pusher of a device of `user`, at `now_ms`.
///
/// # Errors
/// When the database fails.
pub fn pusher_set(
    tx: &mut Tx<'_>,
    (user, device): (UserNum, DeviceNum),
    pusher: &Pusher,
    now_ms: i64,
) -> Result<(), Error> {
    let params = [
        user.into(),
        pusher.app_id.as_bytes().into(),
        pusher.pushkey.as_bytes().into(),
        device.into(),
        pusher.kind.as_str().into(),
        pusher.app_display_name.as_bytes().into(),
        pusher.device_display_name.as_bytes().into(),
        pusher.profile_tag.as_deref().map(str::as_bytes).into(),
        pusher.lang.as_bytes().into(),
        pusher.data.as_bytes().into(),
        now_ms.into(),
    ];
    tx.execute_one(&PUSHER_SET, &params)
}

/// The pushers of `user`, oldest first.
///
/// # Errors
/// When the database cannot be read.
pub fn pusher_list(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<Pusher>, Error> {
    tx.query_all(&PUSHER_LIST, &[user.into()], |row| read(row))
}

fn read(row: &dyn Row) -> Result<Pusher, Error> {
    let text = |column| Ok::<_, Error>(row.utf8(column)?.to_owned());
    Ok(Pusher {
        app_id: text(0)?,
        pushkey: text(1)?,
        kind: row.text(2)?.to_owned(),
        app_display_name: text(3)?,
        device_display_name: text(4)?,
        profile_tag: match row.opt_bytes(5)? {
            Some(_) => Some(text(5)?),
            None => None,
        },
        lang: text(6)?,
        data: text(7)?,
    })
}

/// Deletes a pusher of `user`, if there is one.
///
/// # Errors
/// When the database fails.
pub fn pusher_delete(
    tx: &mut Tx<'_>,
    user: UserNum,
    app_id: &str,
    pushkey: &str,
) -> Result<(), Error> {
    tx.execute(&PUSHER_DELETE, &key(user, app_id, pushkey))?;
    Ok(())
}

/// Deletes the pushers that others than `user` have for the same app and key: it is another's device now.
///
/// # Errors
/// When the database fails.
pub fn pusher_delete_of_others(
    tx: &mut Tx<'_>,
    user: UserNum,
    app_id: &str,
    pushkey: &str,
) -> Result<(), Error> {
    tx.execute(&PUSHER_DELETE_OF_OTHERS, &key(user, app_id, pushkey))?;
    Ok(())
}

/// Deletes the pushers of devices whose sessions end.
///
/// # Errors
/// When the database fails.
pub(crate) fn pushers_delete_of_devices(tx: &mut Tx<'_>, devices: &[i64]) -> Result<(), Error> {
    tx.execute(&PUSHERS_DELETE_OF_DEVICES, &[Value::Ints(devices)])?;
    Ok(())
}

/// Deletes the pushers of all devices of `user` but `keep`.
///
/// # Errors
/// When the database fails.
pub(crate) fn pusher_delete_of_user(
    tx: &mut Tx<'_>,
    user: UserNum,
    keep: DeviceNum,
) -> Result<(), Error> {
    tx.execute(&PUSHER_DELETE_OF_USER, &[user.into(), keep.into()])?;
    Ok(())
}

/// The columns of the table's key.
fn key<'a>(user: UserNum, app_id: &'a str, pushkey: &'a str) -> [Value<'a>; 3] {
    [
        user.into(),
        app_id.as_bytes().into(),
        pushkey.as_bytes().into(),
    ]
}
