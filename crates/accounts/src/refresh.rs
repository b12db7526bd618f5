//! Renewing access tokens. <https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens>
//!
//! The old pair of tokens stays good until one of the new pair is first used: a client that missed the answer asks again.
//! After that the old access token counts as expired: a request that was on its way with it is no sign of a logout.

use std::sync::Arc;

use starling_db::{Error, Tx, Write};
use starling_store::UserNum;
use starling_store::accounts::lock_key;
use starling_store::devices::{self, TokenHash};

use crate::Accounts;
use crate::token::{Token, hash_presented};

/// A new pair of tokens.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// Shown only now.
    pub access_token: Token,
    /// The next one to refresh with; shown only now.
    pub refresh_token: Option<Token>,
    /// When the access token expires, in milliseconds from now; `None` is never.
    pub expires_in_ms: Option<i64>,
}

/// Why there are no new tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It is nobody's (any longer).
    #[error("the refresh token is unknown")]
    Unknown,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// The database failed.
    #[error("the tokens could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// Gives out a new pair of tokens for a refresh token.
    ///
    /// # Errors
    /// Why there are none; then nothing has changed.
    pub async fn refresh(&self, token: &str) -> Result<Refreshed, RefreshError> {
        let hash = hash_presented(token).ok_or(RefreshError::Unknown)?;
        let find = move |tx: &mut Tx<'_>| devices::refresh_find(tx, &hash);
        let owner = self.store().db().read("refresh_find", find).await?;
        let user = owner.ok_or(RefreshError::Unknown)?.user;
        let issued = self.issue_tokens(true);
        let now_ms = self.now_ms();
        let tokens = issued.to_store(now_ms, Some(hash));
        let shared = Arc::clone(&self.shared);
        let write = Write::new("refresh").locking([lock_key(user)]);
        let work = move |tx: &mut Tx<'_>| {
            // It may have ended meanwhile.
            let owner = devices::refresh_find(tx, &hash)?.ok_or(RefreshError::Unknown)?;
            if owner.is_locked {
                return Err(RefreshError::Locked);
            }
            let mut ended = devices::replacements_delete(tx, owner.device, &hash)?;
            ended.extend(devices::token_confirm(tx, &owner.access)?);
            devices::tokens_insert(tx, &tokens, user, owner.device, now_ms)?;
            let shared = Arc::clone(&shared);
            tx.after_commit(move || shared.sessions.forget(&ended));
            Ok(())
        };
        self.store().db().write(write, work).await?;
        Ok(Refreshed {
            access_token: issued.access,
            refresh_token: issued.refresh,
            expires_in_ms: issued.expires_in_ms,
        })
    }

    /// Notes that an access token of `user` is used for the first time: the pair that it replaces ends. The device's long
    /// polls go on, since its session does.
    pub(crate) async fn confirm(&self, user: UserNum, token: TokenHash) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let write = Write::new("token_confirm").locking([lock_key(user)]);
        let work = move |tx: &mut Tx<'_>| {
            let ended = devices::token_confirm(tx, &token)?;
            let shared = Arc::clone(&shared);
            tx.after_commit(move || shared.sessions.forget(&ended));
            Ok::<_, Error>(())
        };
        self.store().db().write(write, work).await
    }
}
