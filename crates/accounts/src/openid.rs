//! OpenID tokens: with one, a user proves to somebody else who they are, and nothing more.
//! <https://spec.matrix.org/v1.19/client-server-api/#openid>

use std::time::Duration;

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx, Write};
use starling_store::UserNum;
use starling_store::openid_tokens;

use crate::Accounts;
use crate::token::{Token, TokenKind, hash_presented};

/// How long an OpenID token is good.
pub const OPENID_TOKEN_LIFETIME: Duration = Duration::from_hours(1);

impl Accounts {
    /// A token that proves who `user` is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn openid_token(&self, user: UserNum) -> Result<Token, Error> {
        let token = Token::new(TokenKind::OpenId, &self.setup().chance);
        let lifetime = i64::try_from(OPENID_TOKEN_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let (hash, expires_at) = (token.hash(), self.now_ms().saturating_add(lifetime));
        let insert = move |tx: &mut Tx<'_>| openid_tokens::insert(tx, &hash, user, expires_at);
        let write = Write::new("openid_token_insert");
        self.store().db().write(write, insert).await?;
        Ok(token)
    }

    /// Whom an OpenID token proves; `None` when it is nobody's or has expired.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn openid_user(&self, token: &str) -> Result<Option<OwnedUserId>, Error> {
        let Some(hash) = hash_presented(token) else {
            return Ok(None);
        };
        let now_ms = self.now_ms();
        let find = move |tx: &mut Tx<'_>| openid_tokens::find(tx, &hash, now_ms);
        self.store().db().read("openid_token_find", find).await
    }

    /// Removes at most `limit` OpenID tokens that have expired; the answer is how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_openid_tokens(&self, limit: u32) -> Result<u64, Error> {
        let now_ms = self.now_ms();
        let delete = move |tx: &mut Tx<'_>| openid_tokens::delete_expired(tx, now_ms, limit);
        let write = Write::new("openid_token_sweep").relaxed();
        self.store().db().write(write, delete).await
    }
}
