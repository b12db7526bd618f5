//! Profiles of local users: their fields, each with the position of its last change.
//! <https://spec.matrix.org/v1.19/client-server-api/#profiles>
//!
//! A value is stored as JSON text. A field that was removed keeps its row, with an empty value, and takes a position.

use starling_db::{Error, Tx};

use crate::numbers::UserNum;

starling_db::statements! {
    /// A profile's fields.
    PROFILE_READ = "SELECT field, value FROM profiles WHERE user_num = ?1 ORDER BY field";
    /// One field.
    PROFILE_FIELD_READ = "SELECT value FROM profiles WHERE user_num = ?1 AND field = ?2";
    /// Another value for a field.
    PROFILE_FIELD_SET = "INSERT INTO profiles (user_num, field, value, position) VALUES (?1, ?2, ?3, ?4) \
        ON CONFLICT (user_num, field) DO UPDATE SET value = excluded.value, position = excluded.position";
}

/// A field of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileField {
    /// Its name, for example `displayname`.
    pub name: String,
    /// JSON text.
    pub value: String,
}

/// The fields that the profile of `user` has, in the order of their names.
///
/// # Errors
/// When the database cannot be read.
pub fn profile_read(tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<ProfileField>, Error> {
    let mut fields = tx.query_all(&PROFILE_READ, &[user.into()], |row| {
        Ok(ProfileField {
            name: row.utf8(0)?.to_owned(),
            value: row.utf8(1)?.to_owned(),
        })
    })?;
    fields.retain(|field| !field.value.is_empty());
    Ok(fields)
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

/// Sets a field to `value` (JSON text), or removes it.
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
    tx.execute_one(&PROFILE_FIELD_SET, &params)
}
