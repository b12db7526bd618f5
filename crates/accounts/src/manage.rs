//! What an administrator does with accounts: list them, set a password, deactivate. Users do the last two themselves.

use starling_db::{Error, Tx};
use starling_store::accounts::{self, Account};
use starling_store::cross_signing::cross_signing_delete_of_user;
use starling_store::device_lists::CROSS_SIGNING;
use starling_store::jobs::Task;
use starling_store::key_backup::backups_delete_of_user;
use starling_store::{DeviceNum, UserNum, devices, login_tokens};

use crate::Accounts;
use crate::password::{self, HashError, PasswordError};
use crate::user_id::login_user_ids;

/// Which sessions go on after the password was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepSession {
    /// All; that of this device changes it.
    All(DeviceNum),
    /// That of this device, which changes it.
    Only(DeviceNum),
    /// None: it is an administrator who changes it.
    None,
}

impl KeepSession {
    fn changes_it(self) -> Option<DeviceNum> {
        match self {
            Self::All(device) | Self::Only(device) => Some(device),
            Self::None => None,
        }
    }
}

/// Why a password was not set.
#[derive(Debug, thiserror::Error)]
pub enum SetPasswordError {
    /// No account may have this password.
    #[error("the password is not allowed")]
    Password(#[from] PasswordError),
    /// The password could not be hashed.
    #[error("the password could not be stored")]
    Hash(#[from] HashError),
    /// The database failed.
    #[error("the password could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// At most `limit` accounts, deactivated ones too, in the order in which their names became known; those above
    /// `after` (`UserNum(0)`: from the first).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, after: UserNum, limit: u32) -> Result<Vec<Account>, Error> {
        let list = move |tx: &mut Tx<'_>| accounts::account_list(tx, after, limit);
        self.store().db().scan("account_list", list).await
    }

    /// The account that `user` (a localpart or a whole id) means as it does in a login.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find(&self, user: &str) -> Result<Option<Account>, Error> {
        let ids = login_user_ids(user, self.server_name());
        let find = move |tx: &mut Tx<'_>| {
            for id in &ids {
                let account = accounts::account_find(tx, id)?;
                if account.is_some() {
                    return Ok(account);
                }
            }
            Ok(None)
        };
        self.store().db().read("account_find", find).await
    }

    /// Sets the password of `user`, and ends the sessions that aren't kept. False when there is no such account in use, or
    /// the session that changes it has ended: perhaps since the password was changed by somebody else.
    ///
    /// # Errors
    /// Why it was not set; then no session has ended either.
    pub async fn set_password(
        &self,
        user: UserNum,
        password: String,
        keep: KeepSession,
    ) -> Result<bool, SetPasswordError> {
        password::check(&password)?;
        let setup = self.setup();
        let hash =
            password::hash(&setup.cpu, &setup.chance, &setup.password_cost, password).await?;
        let work = move |tx: &mut Tx<'_>| {
            if let Some(device) = keep.changes_it()
                && !has_session(tx, user, device)?
            {
                return Ok::<_, SetPasswordError>(None);
            }
            if !accounts::password_set(tx, user, &hash)? {
                return Ok(None);
            }
            let kept = match keep {
                KeepSession::All(_) => return Ok(Some(devices::Ended::default())),
                KeepSession::Only(device) => Some(device),
                KeepSession::None => None,
            };
            // No session may come of one that is given out already.
            login_tokens::delete_of_user(tx, user)?;
            devices::user_devices_delete(tx, user, kept)
                .map_err(Into::into)
                .map(Some)
        };
        self.end_sessions("password_set", user, work).await
    }

    /// Deactivates the account of `user`: nobody can log in, all sessions end, keys and their backups go, and the name stays
    /// taken. False when
    /// there is no such account in use. It is noted that the user has to leave all rooms, and with `erase` that whoever
    /// joins a room later is to see the user's events redacted.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn deactivate(&self, user: UserNum, erase: bool) -> Result<bool, Error> {
        let (now_ms, store) = (self.now_ms(), self.store().clone());
        let work = move |tx: &mut Tx<'_>| {
            if !accounts::account_deactivate(tx, user, now_ms)? {
                return Ok::<_, Error>(None);
            }
            if erase {
                accounts::account_erase(tx, user, now_ms)?;
            }
            login_tokens::delete_of_user(tx, user)?;
            store.job_note(tx, Task::Departure(user), now_ms)?;
            if erase {
                let store = store.clone();
                tx.after_commit(move || store.erased().changed());
            }
            let mut ended = devices::user_devices_delete(tx, user, None)?;
            backups_delete_of_user(tx, user)?;
            if cross_signing_delete_of_user(tx, user)? {
                ended.devices.push(CROSS_SIGNING.to_owned());
            }
            Ok(Some(ended))
        };
        self.end_sessions("deactivate", user, work).await
    }
}

fn has_session(tx: &mut Tx<'_>, user: UserNum, device: DeviceNum) -> Result<bool, Error> {
    let sessions = devices::user_sessions(tx, user, None)?;
    Ok(sessions.iter().any(|session| session.device == device))
}
