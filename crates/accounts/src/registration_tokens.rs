//! Registration tokens: who holds one may register.
//! <https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration>

use std::time::Duration;

use starling_db::{Error, Tx, Write};
use starling_store::interactive_sessions;
use starling_store::registration_tokens::{self, RegistrationToken};

use crate::{Accounts, InteractiveSession};

/// The longest registration token, in bytes.
const MOST_BYTES: usize = 64;

/// The letters of a token that the server makes: over 80 bits of chance, and still to be typed.
const LETTERS: usize = 16;

/// A registration token that is to be.
#[derive(Debug, Clone, Default)]
pub struct NewRegistrationToken {
    /// Its text; one is made when there is none.
    pub token: Option<String>,
    /// How many accounts it is good for; `None` is any number.
    pub uses: Option<u32>,
    /// How long it is good; `None` is for ever.
    pub lifetime: Option<Duration>,
}

/// A registration token that whoever registers has shown.
#[derive(Debug, Clone)]
pub struct ShownToken {
    /// Its text.
    pub token: String,
    /// The interactive authentication during which it was shown, if not in the request itself: that is good for one account.
    pub shown_during: Option<InteractiveSession>,
}

/// Uses a token up that was shown. False when it isn't good (any longer).
pub(crate) fn use_shown(tx: &mut Tx<'_>, shown: &ShownToken, now_ms: i64) -> Result<bool, Error> {
    if let Some(session) = &shown.shown_during
        && !interactive_sessions::delete(tx, session.id())?
    {
        return Ok(false);
    }
    registration_tokens::use_once(tx, &shown.token, now_ms)
}

/// Why there is no such registration token now.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationTokenError {
    /// Its text is empty, too long, or holds other characters than those of opaque identifiers.
    #[error("a token has 1 to {MOST_BYTES} of the characters A-Z, a-z, 0-9 and ._~-")]
    Invalid,
    /// There is one of this text.
    #[error("there is such a token already")]
    Exists,
    /// The database failed.
    #[error("the token could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// Makes a registration token.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn make_registration_token(
        &self,
        new: NewRegistrationToken,
    ) -> Result<RegistrationToken, RegistrationTokenError> {
        let made = || self.setup().chance.token(LETTERS);
        let text = new.token.unwrap_or_else(made);
        if !is_text_valid(&text) {
            return Err(RegistrationTokenError::Invalid);
        }
        let now_ms = self.now_ms();
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let expires_at = new.lifetime.map(|time| now_ms.saturating_add(millis(time)));
        let token = RegistrationToken {
            token: text,
            uses_allowed: new.uses.map(i64::from),
            uses: 0,
            expires_at,
        };
        let row = token.clone();
        let insert = move |tx: &mut Tx<'_>| registration_tokens::insert(tx, &row, now_ms);
        let write = Write::new("registration_token_insert");
        if self.store().db().write(write, insert).await? {
            Ok(token)
        } else {
            Err(RegistrationTokenError::Exists)
        }
    }

    /// At most `limit` registration tokens in the order of their texts, those after `after` (empty: from the first).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn registration_tokens(
        &self,
        after: String,
        limit: u32,
    ) -> Result<Vec<RegistrationToken>, Error> {
        let list = move |tx: &mut Tx<'_>| registration_tokens::list(tx, &after, limit);
        self.store()
            .db()
            .scan("registration_token_list", list)
            .await
    }

    /// Ends a registration token. False when there is none of this text.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_registration_token(&self, token: String) -> Result<bool, Error> {
        let delete = move |tx: &mut Tx<'_>| registration_tokens::delete(tx, &token);
        let write = Write::new("registration_token_delete");
        self.store().db().write(write, delete).await
    }

    /// Whether somebody may register with this token now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_registration_token_good(&self, token: String) -> Result<bool, Error> {
        if !is_text_valid(&token) {
            return Ok(false);
        }
        let now_ms = self.now_ms();
        let is_good = move |tx: &mut Tx<'_>| registration_tokens::is_good(tx, &token, now_ms);
        self.store().db().read("registration_token", is_good).await
    }
}

/// <https://spec.matrix.org/v1.19/appendices/#opaque-identifiers>
fn is_text_valid(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=MOST_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}
