//! OpenID tokens, known by their SHA-256 hash only.

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx};

use crate::accounts::read_user_id;
use crate::devices::TokenHash;
use crate::numbers::UserNum;

starling_db::statements! {
    /// A new OpenID token.
    OPENID_INSERT = "INSERT INTO openid_tokens (hash, user_num, expires_at) VALUES (?1, ?2, ?3)";
    /// Whose OpenID token it is.
    OPENID_FIND = "SELECT u.user_id FROM openid_tokens t JOIN users u ON u.user_num = t.user_num \
        JOIN accounts a ON a.user_num = t.user_num \
        WHERE t.hash = ?1 AND t.expires_at > ?2 AND a.deactivated_at IS NULL AND a.locked_at IS NULL";
    /// The end of OpenID tokens that have expired.
    OPENID_DELETE = "DELETE FROM openid_tokens WHERE hash IN \
        (SELECT hash FROM openid_tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
}

/// Gives `user` an OpenID token that is good until `expires_at`, in milliseconds since 1970.
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
    tx.execute_one(&OPENID_INSERT, &params)
}

/// Whose the OpenID token with this hash is, at `now_ms`; `None` when nobody's (any longer).
///
/// # Errors
/// When the database cannot be read.
pub fn find(tx: &mut Tx<'_>, hash: &TokenHash, now_ms: i64) -> Result<Option<OwnedUserId>, Error> {
    let params = [hash.as_slice().into(), now_ms.into()];
    tx.query_one(&OPENID_FIND, &params, |row| read_user_id(row, 0))
}

/// Deletes at most `limit` OpenID tokens that have expired at `now_ms`; the answer is how many.
///
/// # Errors
/// When the database fails.
pub fn delete_expired(tx: &mut Tx<'_>, now_ms: i64, limit: u32) -> Result<u64, Error> {
    tx.execute(&OPENID_DELETE, &[now_ms.into(), i64::from(limit).into()])
}
