//! Profiles of local users: their fields, each with the position of its last change.
//! <https://spec.matrix.org/v1.19/client-server-api/#profiles>
//!
//! A value is stored as JSON text. A field that was removed keeps its row, with an empty value, and takes a position.

use starling_db::{Error, Row, Tx, Value};

use crate::numbers::UserNum;
use crate::user_words::words_of_name_set;

/// The field with the name for people.
pub const DISPLAY_NAME: &str = "displayname";

/// The field with the picture.
pub const AVATAR_URL: &str = "avatar_url";

/// Removed fields of one user that are remembered; of more, the oldest is forgotten. Otherwise who sets and removes one
/// name after the other would make the profile slow to read.
const REMOVED: usize = 100;

starling_db::statements! {
    /// A profile's fields, those that were removed too.
    PROFILE_READ = "SELECT field, value, position FROM profiles WHERE user_num = ?1 ORDER BY field";
    /// Some fields, also if they were removed.
    PROFILE_SHOWN = "SELECT field, value, position FROM profiles WHERE user_num = ?1 AND field IN {blobs ?2}";
    /// One field.
    PROFILE_FIELD_READ = "SELECT value FROM profiles WHERE user_num = ?1 AND field = ?2";
    /// Another value for a field.
    PROFILE_FIELD_SET = "INSERT INTO profiles (user_num, field, value, position) VALUES (?1, ?2, ?3, ?4) \
        ON CONFLICT (user_num, field) DO UPDATE SET value = excluded.value, position = excluded.position";
    /// Forgets a field that was removed.
    PROFILE_FIELD_FORGET = "DELETE FROM profiles WHERE user_num = ?1 AND field = ?2";
}

/// A field of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileField {
    /// Its name, for example `displayname`.
    pub name: String,
    /// JSON text; empty when the field was removed.
    pub value: String,
    /// Of the last change.
    pub position: i64,
}

/// Up to when somebody has seen the fields of a profile that member events show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileSeen {
    /// Whose profile it is.
    pub user: UserNum,
    /// The position of the last change that they have seen.
    pub position: i64,
}

/// The fields that the profile of `user` has, in the order of their names.
///
/// # Errors
/// When the database cannot be read.
pub fn profile_read(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<ProfileField>, Error> {
    let mut fields = profile_rows(tx, user)?;
    fields.retain(|field| !field.value.is_empty());
    Ok(fields)
}

/// As [`profile_read`], with those that were removed.
///
/// # Errors
/// When the database cannot be read.
pub fn profile_rows(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<ProfileField>, Error> {
    tx.query_all(&PROFILE_READ, &[user.into()], read)
}

/// The fields that member events show, also if they were removed.
///
/// # Errors
/// When the database cannot be read.
pub fn profile_shown(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<ProfileField>, Error> {
    let fields = [DISPLAY_NAME.as_bytes(), AVATAR_URL.as_bytes()];
    tx.query_all(&PROFILE_SHOWN, &[user.into(), Value::Blobs(&fields)], read)
}

/// Whether the fields that member events show have changed since.
///
/// # Errors
/// When the database cannot be read.
pub fn profile_has_changed(tx: &mut Tx<'_>, seen: ProfileSeen) -> Result<bool, Error> {
    let shown = profile_shown(tx, seen.user)?;
    Ok(shown.iter().any(|field| field.position > seen.position))
}

fn read(row: &dyn Row) -> Result<ProfileField, Error> {
    Ok(ProfileField {
        name: row.utf8(0)?.to_owned(),
        value: row.utf8(1)?.to_owned(),
        position: row.int(2)?,
    })
}

/// The value (JSON text) of one field, if the profile of `user` has it.
///
/// # Errors
/// When the database cannot be read.
pub fn profile_field_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    field: &str,
) -> Result<Option<String>, Error> {
    let params = [user.into(), field.as_bytes().into()];
    let value = tx.query_one(&PROFILE_FIELD_READ, &params, |row| {
        Ok(row.utf8(0)?.to_owned())
    })?;
    Ok(value.filter(|value| !value.is_empty()))
}

/// Sets a field to `value` (JSON text), or removes it. By a display name, users are found from now on.
///
/// # Errors
/// When the database fails.
pub fn profile_field_set(
    tx: &mut Tx<'_>,
    position: i64,
    user: UserNum,
    field: &str,
    value: Option<&str>,
) -> Result<(), Error> {
    let params = [
        user.into(),
        field.as_bytes().into(),
        value.unwrap_or("").as_bytes().into(),
        position.into(),
    ];
    tx.execute_one(&PROFILE_FIELD_SET, &params)?;
    if field == DISPLAY_NAME {
        let name = value.and_then(|value| starling_events::Value::new(value.as_bytes()).as_str());
        words_of_name_set(tx, user, name.as_deref())?;
    }
    Ok(())
}

/// Makes room for one more field that was removed; `rows` are those of `user` now.
///
/// # Errors
/// When the database fails.
pub fn profile_forget_removed(
    tx: &mut Tx<'_>,
    user: UserNum,
    rows: &[ProfileField],
) -> Result<(), Error> {
    // The removed name and picture may yet have to be brought to rooms.
    let is_removed = |field: &&ProfileField| {
        field.value.is_empty() && ![DISPLAY_NAME, AVATAR_URL].contains(&&*field.name)
    };
    let removed = || rows.iter().filter(is_removed);
    match removed().min_by_key(|field| field.position) {
        Some(oldest) if removed().count() >= REMOVED => {
            let params = [user.into(), oldest.name.as_bytes().into()];
            tx.execute(&PROFILE_FIELD_FORGET, &params).map(drop)
        }
        _ => Ok(()),
    }
}
