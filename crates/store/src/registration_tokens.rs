//! Registration tokens: who holds one may register.

use starling_db::{Error, Row, Tx};

starling_db::statements! {
    /// A new registration token, unless there is one of this text.
    REGISTRATION_TOKEN_INSERT = "INSERT INTO registration_tokens (token, uses_allowed, uses, expires_at, created_at) \
        VALUES (?1, ?2, 0, ?3, ?4) ON CONFLICT (token) DO NOTHING";
    /// One page of the registration tokens.
    REGISTRATION_TOKEN_LIST = "SELECT token, uses_allowed, uses, expires_at FROM registration_tokens \
        WHERE token > ?1 ORDER BY token LIMIT ?2";
    /// Whether a registration token is good.
    REGISTRATION_TOKEN_IS_GOOD = "SELECT 1 FROM registration_tokens WHERE token = ?1 \
        AND (uses_allowed IS NULL OR uses < uses_allowed) AND (expires_at IS NULL OR expires_at > ?2)";
    /// A use of a registration token that is good.
    REGISTRATION_TOKEN_USE = "UPDATE registration_tokens SET uses = uses + 1 WHERE token = ?1 \
        AND (uses_allowed IS NULL OR uses < uses_allowed) AND (expires_at IS NULL OR expires_at > ?2)";
    /// The end of a registration token.
    REGISTRATION_TOKEN_DELETE = "DELETE FROM registration_tokens WHERE token = ?1";
}

/// A registration token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationToken {
    /// Its text.
    pub token: String,
    /// How many accounts it is good for; `None` is any number.
    pub uses_allowed: Option<i64>,
    /// How many accounts were made with it.
    pub uses: i64,
    /// Until when it is good: milliseconds since 1970; `None` is for ever.
    pub expires_at: Option<i64>,
}

/// Keeps a new registration token. False when there is one of this text.
///
/// # Errors
/// When the database fails.
pub fn insert(tx: &mut Tx<'_>, new: &RegistrationToken, now_ms: i64) -> Result<bool, Error> {
    let params = [
        new.token.as_str().into(),
        new.uses_allowed.into(),
        new.expires_at.into(),
        now_ms.into(),
    ];
    Ok(tx.execute(&REGISTRATION_TOKEN_INSERT, &params)? == 1)
}

/// At most `limit` registration tokens in the order of their texts, those after `after` (empty: from the first).
///
/// # Errors
/// When the database cannot be read.
pub fn list(tx: &mut Tx<'_>, after: &str, limit: u32) -> Result<Vec<RegistrationToken>, Error> {
    let params = [after.into(), i64::from(limit).into()];
    tx.query_all(&REGISTRATION_TOKEN_LIST, &params, |row: &dyn Row| {
        Ok(RegistrationToken {
            token: row.text(0)?.to_owned(),
            uses_allowed: row.opt_int(1)?,
            uses: row.int(2)?,
            expires_at: row.opt_int(3)?,
        })
    })
}

/// Whether somebody may register with `token` at `now_ms`.
///
/// # Errors
/// When the database cannot be read.
pub fn is_good(tx: &mut Tx<'_>, token: &str, now_ms: i64) -> Result<bool, Error> {
    let params = [token.into(), now_ms.into()];
    let good = tx.query_one(&REGISTRATION_TOKEN_IS_GOOD, &params, |_| Ok(()))?;
    Ok(good.is_some())
}

/// Counts a registration with `token` at `now_ms`. False when it isn't good for one (any longer).
///
/// # Errors
/// When the database fails.
pub fn use_once(tx: &mut Tx<'_>, token: &str, now_ms: i64) -> Result<bool, Error> {
    Ok(tx.execute(&REGISTRATION_TOKEN_USE, &[token.into(), now_ms.into()])? == 1)
}

/// Deletes a registration token. False when there is none of this text.
///
/// # Errors
/// When the database fails.
pub fn delete(tx: &mut Tx<'_>, token: &str) -> Result<bool, Error> {
    Ok(tx.execute(&REGISTRATION_TOKEN_DELETE, &[token.into()])? == 1)
}
