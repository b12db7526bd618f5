//! Login by password.
//! <https://spec.matrix.org/v1.19/client-server-api/#login>
//!
//! An unknown user, a wrong password, an account without a password and a deactivated one are refused alike, after the
//! same work.

use std::sync::Arc;

use ruma_common::OwnedUserId;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::UserNum;
use starling_store::accounts::{self, Account, lock_key};

use crate::password::{self, HashError};
use crate::sessions::{self, DeviceError, IssuedTokens, NewDevice, NewSession};
use crate::token::Token;
use crate::user_id::login_user_ids;
use crate::{Accounts, PASSWORD_BYTES, Session};

/// A login by password.
pub struct PasswordLogin {
    /// The localpart or the whole id of a user of this server.
    pub user: String,
    /// The password.
    pub password: String,
    /// The device on which the session begins. A known device's session ends with that.
    pub device: NewDevice,
}

/// A session that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: String,
    /// Shown only now.
    pub access_token: Token,
    /// For a client that renews its access token; shown only now.
    pub refresh_token: Option<Token>,
    /// When the access token expires, in milliseconds from now; `None` is never.
    pub expires_in_ms: Option<i64>,
}

impl LoggedIn {
    pub(crate) fn new(user_id: OwnedUserId, device_id: String, tokens: IssuedTokens) -> Self {
        Self {
            user_id,
            device_id,
            access_token: tokens.access,
            refresh_token: tokens.refresh,
            expires_in_ms: tokens.expires_in_ms,
        }
    }
}

/// Why no session began.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No account in use has this name and this password.
    #[error("wrong user name or password")]
    Refused,
    /// The login token is nobody's, was used, or has expired; or the account is no longer in use.
    #[error("the login token is unknown, was used already, or has expired")]
    UnknownToken,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// The device cannot be.
    #[error("no such device can be")]
    Device(#[from] DeviceError),
    /// The password could not be compared.
    #[error("the login could not be checked")]
    Hash(#[from] HashError),
    /// The database failed.
    #[error("the login could not be stored")]
    Database(#[from] Error),
}

/// Who is to be logged in.
struct Claimed {
    account: Account,
    hash: Option<String>,
}

impl Accounts {
    /// Begins a session of whoever has this name and this password.
    ///
    /// # Errors
    /// Why no session began.
    pub async fn login_password(&self, login: PasswordLogin) -> Result<LoggedIn, LoginError> {
        let setup = self.setup();
        let (session, tokens) = self.new_session(login.device)?;
        // No account has a longer password: nothing is learned from how fast this is.
        if login.password.len() > PASSWORD_BYTES {
            return Err(LoginError::Refused);
        }
        let claimed = self.claimed(&login.user).await?;
        let (account, stored) = match claimed {
            Some(claimed) => (Some(claimed.account), claimed.hash),
            None => (None, None),
        };
        let password = login.password;
        let cost = &setup.password_cost;
        let is_right = password::verify(&setup.cpu, cost, password.clone(), stored.clone()).await?;
        let (Some(account), Some(stored), true) = (account, stored, is_right) else {
            return Err(LoginError::Refused);
        };
        if account.locked_at.is_some() {
            return Err(LoginError::Locked);
        }
        let rehashed = if cost.differs_from(&stored) {
            Some(password::hash(&setup.cpu, &setup.chance, cost, password).await?)
        } else {
            None
        };
        let device_id = session.device_id.clone();
        self.begin_session(account.user, session, Verified { stored, rehashed })
            .await?;
        Ok(LoggedIn::new(account.user_id, device_id, tokens))
    }

    /// Whether `password` is that of `user`, who has a session already and confirms it.
    ///
    /// # Errors
    /// [`LoginError::Hash`] or [`LoginError::Database`].
    pub async fn password_matches(
        &self,
        user: UserNum,
        password: String,
    ) -> Result<bool, LoginError> {
        if password.len() > PASSWORD_BYTES {
            return Ok(false);
        }
        let read = move |tx: &mut Tx<'_>| accounts::password_read(tx, user);
        let stored = self.store().db().read("password", read).await?;
        let setup = self.setup();
        Ok(password::verify(&setup.cpu, &setup.password_cost, password, stored).await?)
    }

    /// Whether `user` (a localpart or a whole id) means who is logged in.
    #[must_use]
    pub fn is_named(&self, session: &Session, user: &str) -> bool {
        login_user_ids(user, self.server_name()).contains(&session.user_id)
    }

    async fn claimed(&self, user: &str) -> Result<Option<Claimed>, Error> {
        let ids = login_user_ids(user, self.server_name());
        let read = move |tx: &mut Tx<'_>| {
            for id in &ids {
                if let Some(account) = accounts::account_find(tx, id)? {
                    let hash = accounts::password_read(tx, account.user)?;
                    return Ok(Some(Claimed { account, hash }));
                }
            }
            Ok(None)
        };
        self.store().db().read("login", read).await
    }

    /// Begins the session, unless the password that was verified is no longer the account's.
    async fn begin_session(
        &self,
        user: UserNum,
        session: NewSession,
        verified: Verified,
    ) -> Result<(), LoginError> {
        let shared = Arc::clone(&self.shared);
        let write = Write::new("login").locking([lock_key(user)]);
        let work = move |tx: &mut Tx<'_>| {
            if accounts::password_read(tx, user)?.as_ref() != Some(&verified.stored) {
                return Err(LoginError::Refused);
            }
            if let Some(rehashed) = &verified.rehashed {
                accounts::password_set(tx, user, rehashed)?;
            }
            Ok(sessions::begin(tx, user, &session)?)
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ended| {
            Ok(sessions::place_ended(
                tx,
                positions,
                &shared,
                user,
                vec![ended],
            )?)
        };
        self.store().db().write_placed(write, work, place).await
    }
}

/// The stored hash that the password fits, and its hash at the cost that is configured now, if that is another.
struct Verified {
    stored: String,
    rehashed: Option<String>,
}
