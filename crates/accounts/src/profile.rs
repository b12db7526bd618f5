//! Profiles of local users: display name and avatar.
//! <https://spec.matrix.org/v1.19/client-server-api/#profiles>
//!
//! What a change means for the rooms that the user is in is up to the caller.

use ruma_common::{MxcUri, UserId};
use serde_json::Value;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::UserNum;
use starling_store::accounts::{self, lock_key};
use starling_store::profiles;

use crate::Accounts;

/// The longest value of a field, in bytes: both also go into every member event.
const VALUE_BYTES: usize = 1_024;

/// A field of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `displayname`
    DisplayName,
    /// `avatar_url`
    AvatarUrl,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::DisplayName => "displayname",
            Self::AvatarUrl => "avatar_url",
        }
    }
}

/// A profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name for humans.
    pub display_name: Option<String>,
    /// An `mxc://` URI.
    pub avatar_url: Option<String>,
}

/// Why a field was not set.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The value has more than 1,024 bytes.
    #[error("the value has more than {VALUE_BYTES} bytes")]
    TooLong,
    /// The value is no `mxc://` URI.
    #[error("the avatar's URL is not an MXC URI")]
    InvalidAvatarUrl,
    /// The database failed.
    #[error("the profile could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// The profile of `user`; `None` when no account of this server in use has this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn profile(&self, user: &UserId) -> Result<Option<Profile>, Error> {
        let user = user.to_owned();
        let read = move |tx: &mut Tx<'_>| {
            let account = accounts::account_find(tx, &user)?;
            let account = account.filter(|account| account.deactivated_at.is_none());
            match account {
                Some(account) => read_profile(tx, account.user).map(Some),
                None => Ok(None),
            }
        };
        self.store().db().read("profile", read).await
    }

    /// Sets a field of the profile of `user`; an empty value removes it. False when the profile had it so already.
    ///
    /// # Errors
    /// Why it was not set.
    pub async fn set_profile_field(
        &self,
        user: UserNum,
        field: Field,
        value: &str,
    ) -> Result<bool, ProfileError> {
        if value.len() > VALUE_BYTES {
            return Err(ProfileError::TooLong);
        }
        let is_uri = || <&MxcUri>::from(value).is_valid();
        if field == Field::AvatarUrl && !value.is_empty() && !is_uri() {
            return Err(ProfileError::InvalidAvatarUrl);
        }
        let json = (!value.is_empty()).then(|| Value::from(value).to_string());
        let bus = self.setup().bus.clone();
        let write = Write::new("profile").locking([lock_key(user)]);
        let work = {
            let json = json.clone();
            move |tx: &mut Tx<'_>| {
                let old = profiles::profile_field_read(tx, user, field.name())?;
                Ok::<_, ProfileError>(old != json)
            }
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, is_change| {
            if is_change {
                let position = positions.give()?;
                profiles::profile_field_set(tx, position, user, field.name(), json.as_deref())?;
                let bus = bus.clone();
                tx.after_commit(move || bus.advance(position, &[Topic::User(user.0)]));
            }
            Ok(is_change)
        };
        self.store().db().write_placed(write, work, place).await
    }
}

fn read_profile(tx: &mut Tx<'_>, user: UserNum) -> Result<Profile, Error> {
    let mut profile = Profile::default();
    for field in profiles::profile_read(tx, user)? {
        let value: Option<String> = serde_json::from_str(&field.value)
            .map_err(|_| Error::Damaged(format!("the profile field {} is no text", field.name)))?;
        match field.name.as_str() {
            "displayname" => profile.display_name = value,
            "avatar_url" => profile.avatar_url = value,
            _ => {}
        }
    }
    Ok(profile)
}
