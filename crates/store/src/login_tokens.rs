//! Tokens for one login, known by their SHA-256 hash only.

use starling_db::{Error, Tx};

use crate::devices::TokenHash;
use crate::numbers::UserNum;

starling_db::statements! {
    /// A new login token.
    LOGIN_TOKEN_INSERT = "INSERT INTO login_tokens (hash, user_num, expires_at) VALUES (?1, ?2, ?3)";
    /// Whose login token it is.
    LOGIN_TOKEN_FIND = "SELECT user_num FROM login_tokens WHERE hash = ?1 AND expires_at > ?2";
    /// The one use of a login token.
    LOGIN_TOKEN_USE = "DELETE FROM login_tokens WHERE hash = ?1";
    /// The end of a user's login tokens.
    LOGIN_TOKEN_DELETE_OF_USER = "DELETE FROM login_tokens WHERE user_num = ?1";
    /// The end of login tokens that have expired.
    LOGIN_TOKEN_DELETE = "DELETE FROM login_tokens WHERE hash IN \
        (SELECT hash FROM login_tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
}

/// Gives `user` a login token that is good until `expires_at`, in milliseconds since 1970.
///
/// # Errors
/// When the database fails.
pub fn insert(
    tx: &mut Tx<'_>,
    hash: &TokenHash,
    user: UserNum,
    expires_at: i64,
) -> Result<(), Error> {
    let params = [hash.as_slice().into(), user.into(), expires_at.into()];
    tx.execute_one(&LOGIN_TOKEN_INSERT, &params)
}

/// Whose the login token with this hash is, at `now_ms`; `None` when nobody's (any longer).
///
/// # Errors
/// When the database cannot be read.
pub fn find(tx: &mut Tx<'_>, hash: &TokenHash, now_ms: i64) -> Result<Option<UserNum>, Error> {
    let params = [hash.as_slice().into(), now_ms.into()];
    tx.query_one(&LOGIN_TOKEN_FIND, &params, |row| Ok(UserNum(row.int(0)?)))
}

/// Uses the login token with this hash up. False when there is none (any longer).
///
/// # Errors
/// When the database fails.
pub fn use_up(tx: &mut Tx<'_>, hash: &TokenHash) -> Result<bool, Error> {
    Ok(tx.execute(&LOGIN_TOKEN_USE, &[hash.as_slice().into()])? == 1)
}

/// Deletes the login tokens of `user`.
///
/// # Errors
/// When the database fails.
pub fn delete_of_user(tx: &mut Tx<'_>, user: UserNum) -> Result<(), Error> {
    tx.execute(&LOGIN_TOKEN_DELETE_OF_USER, &[user.into()])?;
    Ok(())
}

/// Deletes at most `limit` login tokens that have expired at `now_ms`; the answer is how many.
///
/// # Errors
/// When the database fails.
pub fn delete_expired(tx: &mut Tx<'_>, now_ms: i64, limit: u32) -> Result<u64, Error> {
    tx.execute(
        &LOGIN_TOKEN_DELETE,
        &[now_ms.into(), i64::from(limit).into()],
    )
}
