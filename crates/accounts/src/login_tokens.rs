//! Tokens with which a client that has a session lets another one log in.
//! <https://spec.matrix.org/v1.19/client-server-api/#token-based-user-login>

use std::sync::Arc;
use std::time::Duration;

use starling_db::{Error, Positions, Tx, Write};
use starling_store::accounts::{self, Account, lock_key};
use starling_store::{devices, login_tokens};

use crate::Accounts;
use crate::login::{LoggedIn, LoginError};
use crate::sessions::{self, NewDevice, Session};
use crate::token::{Token, TokenKind, hash_presented};

/// How long a login token is good.
pub const LOGIN_TOKEN_LIFETIME: Duration = Duration::from_mins(2);

impl Accounts {
    /// A token for one login of the user of `session`; `None` when that has ended meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn login_token(&self, session: &Session) -> Result<Option<Token>, Error> {
        let token = Token::new(TokenKind::Login, &self.setup().chance);
        let lifetime = i64::try_from(LOGIN_TOKEN_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let (hash, expires_at) = (token.hash(), self.now_ms().saturating_add(lifetime));
        let (user, device, device_id) = (session.user, session.device, session.device_id.clone());
        let insert = move |tx: &mut Tx<'_>| {
            // Who ends all sessions, ends with them what could begin others.
            let found = devices::device_find(tx, user, &device_id)?;
            if found.is_none_or(|found| found.device != device) {
                return Ok::<_, Error>(false);
            }
            login_tokens::insert(tx, &hash, user, expires_at)?;
            Ok(true)
        };
        let write = Write::new("login_token_insert").locking([lock_key(user)]);
        let is_made = self.store().db().write(write, insert).await?;
        Ok(is_made.then_some(token))
    }

    /// Begins a session of whoever a login token is for, and uses the token up.
    ///
    /// # Errors
    /// Why no session began.
    pub async fn login_by_token(
        &self,
        token: &str,
        device: NewDevice,
    ) -> Result<LoggedIn, LoginError> {
        let hash = hash_presented(token).ok_or(LoginError::UnknownToken)?;
        let (session, tokens) = self.new_session(device)?;
        let device_id = session.device_id.clone();
        let now_ms = self.now_ms();
        let find = move |tx: &mut Tx<'_>| login_tokens::find(tx, &hash, now_ms);
        let user = self.store().db().read("login_token_find", find).await?;
        let user = user.ok_or(LoginError::UnknownToken)?;
        let shared = Arc::clone(&self.shared);
        let write = Write::new("login_by_token").locking([lock_key(user)]);
        let work = move |tx: &mut Tx<'_>| {
            let account = usable(accounts::account_read(tx, user)?)?;
            if !login_tokens::use_up(tx, &hash)? {
                return Err(LoginError::UnknownToken);
            }
            Ok((account.user_id, sessions::begin(tx, user, &session)?))
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, (user_id, ended)| {
            sessions::place_ended(tx, positions, &shared, user, vec![ended])?;
            Ok::<_, LoginError>(user_id)
        };
        let user_id = self.store().db().write_placed(write, work, place).await?;
        Ok(LoggedIn::new(user_id, device_id, tokens))
    }

    /// Removes at most `limit` login tokens that have expired; the answer is how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_login_tokens(&self, limit: u32) -> Result<u64, Error> {
        let now_ms = self.now_ms();
        let delete = move |tx: &mut Tx<'_>| login_tokens::delete_expired(tx, now_ms, limit);
        let write = Write::new("login_token_sweep").relaxed();
        self.store().db().write(write, delete).await
    }
}

/// An account that somebody may log in to.
fn usable(account: Option<Account>) -> Result<Account, LoginError> {
    let in_use = account.filter(|account| account.deactivated_at.is_none());
    let account = in_use.ok_or(LoginError::UnknownToken)?;
    match account.locked_at {
        Some(_) => Err(LoginError::Locked),
        None => Ok(account),
    }
}
