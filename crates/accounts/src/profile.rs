//! Profiles of local users. <https://spec.matrix.org/v1.19/client-server-api/#profiles>

use std::fmt;

use ruma_common::{MxcUri, UserId};
use serde_json::Value;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::UserNum;
use starling_store::accounts::{self, lock_key};
use starling_store::jobs::Task;
use starling_store::profiles::{self, AVATAR_URL, DISPLAY_NAME, ProfileField};

use crate::Accounts;

/// The longest display name and the longest URL of a picture, in bytes: both also go into every member event.
const VALUE_BYTES: usize = 1_024;

/// A whole profile, as JSON, is smaller than this, in bytes.
const PROFILE_BYTES: usize = 65_536;

/// The longest name of a field, in bytes.
const NAME_BYTES: usize = 255;

/// The field with the user's time zone.
const TIME_ZONE: &str = "m.tz";

/// The name of a field of a profile, as it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName(String);

impl FieldName {
    /// Reads a name: `displayname`, `avatar_url`, or one in a namespace.
    /// <https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar>
    ///
    /// # Errors
    /// [`ProfileError::NameTooLong`], [`ProfileError::InvalidName`].
    pub fn parse(name: &str) -> Result<Self, ProfileError> {
        if name.len() > NAME_BYTES {
            return Err(ProfileError::NameTooLong);
        }
        let is_namespaced = name.contains('.')
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
        if is_namespaced || [DISPLAY_NAME, AVATAR_URL].contains(&name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(ProfileError::InvalidName)
        }
    }

    /// `displayname`
    #[must_use]
    pub fn display_name() -> Self {
        Self(DISPLAY_NAME.to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the name for people or the picture, which are in member events too.
    #[must_use]
    pub fn is_in_rooms(&self) -> bool {
        [DISPLAY_NAME, AVATAR_URL].contains(&self.as_str())
    }

    /// What is stored for this value: JSON text, or nothing where it means that there is none.
    fn check(&self, value: &Value) -> Result<Option<String>, ProfileError> {
        let name = self.as_str();
        if self.is_in_rooms() || name == TIME_ZONE {
            let text = value.as_str().ok_or(ProfileError::NotAString)?;
            if self.is_in_rooms() && text.len() > VALUE_BYTES {
                return Err(ProfileError::TooLong);
            }
            if name == AVATAR_URL && !text.is_empty() && !<&MxcUri>::from(text).is_valid() {
                return Err(ProfileError::InvalidAvatarUrl);
            }
            // So clients removed it before there was a way to.
            if self.is_in_rooms() && text.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(value.to_string()))
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a field was not set.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The name has more than 255 bytes.
    #[error("the name of a field has at most {NAME_BYTES} bytes")]
    NameTooLong,
    /// No field has such a name.
    #[error("no field has such a name")]
    InvalidName,
    /// The value of this field is a string.
    #[error("the value is not a string")]
    NotAString,
    /// The value has more than 1,024 bytes.
    #[error("the value has more than {VALUE_BYTES} bytes")]
    TooLong,
    /// The whole profile would have 64 KiB or more.
    #[error("the whole profile has to be smaller than {PROFILE_BYTES} bytes")]
    ProfileTooLarge,
    /// The value is no `mxc://` URI.
    #[error("the avatar's URL is not an MXC URI")]
    InvalidAvatarUrl,
    /// The database failed.
    #[error("the profile could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// The fields of the profile of `user`; `None` when no account of this server in use has this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn profile(&self, user: &UserId) -> Result<Option<Vec<ProfileField>>, Error> {
        let user = user.to_owned();
        let read = move |tx: &mut Tx<'_>| match user_in_use(tx, &user)? {
            Some(user) => profiles::profile_read(tx, user).map(Some),
            None => Ok(None),
        };
        self.store().db().read("profile", read).await
    }

    /// The value (JSON text) of one field of the profile of `user`; `None` also when no account of this server in use has
    /// this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn profile_field(
        &self,
        user: &UserId,
        field: &FieldName,
    ) -> Result<Option<String>, Error> {
        let (user, field) = (user.to_owned(), field.clone());
        let read = move |tx: &mut Tx<'_>| match user_in_use(tx, &user)? {
            Some(user) => profiles::profile_field_read(tx, user, field.as_str()),
            None => Ok(None),
        };
        self.store().db().read("profile_field", read).await
    }

    /// Sets a field of the profile of `user`, or removes it. False when the profile had it so already. It is noted that
    /// rooms have to show another name or picture.
    ///
    /// # Errors
    /// Why it was not set.
    pub async fn set_profile_field(
        &self,
        user: UserNum,
        field: FieldName,
        value: Option<&Value>,
    ) -> Result<bool, ProfileError> {
        let json = value.map(|value| field.check(value)).transpose()?.flatten();
        let (bus, store, now_ms) = (
            self.setup().bus.clone(),
            self.store().clone(),
            self.now_ms(),
        );
        let write = Write::new("profile").locking([lock_key(user)]);
        let work = {
            let (field, json) = (field.clone(), json.clone());
            move |tx: &mut Tx<'_>| {
                let rows = profiles::profile_rows(tx, user)?;
                let is_change = is_change(&rows, &field, json.as_deref())?;
                if is_change && json.is_none() {
                    profiles::profile_forget_removed(tx, user, &rows)?;
                }
                if is_change && field.is_in_rooms() {
                    store.job_note(tx, Task::Profile(user), now_ms)?;
                }
                Ok(is_change)
            }
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, was_change| {
            // Once more: other changes of the same commit may have come between.
            let is_change = was_change
                && is_change(&profiles::profile_rows(tx, user)?, &field, json.as_deref())?;
            if is_change {
                let position = positions.give()?;
                profiles::profile_field_set(tx, position, user, field.as_str(), json.as_deref())?;
                let bus = bus.clone();
                tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
            }
            Ok::<_, ProfileError>(is_change)
        };
        self.store().db().write_placed(write, work, place).await
    }
}

/// The number of a user whose account is in use.
fn user_in_use(tx: &mut Tx<'_>, user: &UserId) -> Result<Option<UserNum>, Error> {
    let account = accounts::account_find(tx, user)?;
    Ok(account
        .filter(|account| account.deactivated_at.is_none())
        .map(|account| account.user))
}

/// Whether the profile is another with `field` like this.
fn is_change(
    rows: &[ProfileField],
    field: &FieldName,
    json: Option<&str>,
) -> Result<bool, ProfileError> {
    let name = field.as_str();
    let (own, others): (Vec<&ProfileField>, Vec<_>) = rows
        .iter()
        .filter(|row| !row.value.is_empty())
        .partition(|row| row.name == name);
    let Some(json) = json else {
        return Ok(!own.is_empty());
    };
    // As it is told: {"name":value,…}
    let member = |name: &str, value: &str| name.len() + value.len() + "\"\":,".len();
    let others = others.iter().map(|row| member(&row.name, &row.value));
    if "{}".len() + others.sum::<usize>() + member(name, json) > PROFILE_BYTES {
        return Err(ProfileError::ProfileTooLarge);
    }
    Ok(own.first().is_none_or(|row| row.value != json))
}
