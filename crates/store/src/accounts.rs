//! Accounts: the local users, their password hashes, and whether they are deactivated.

use ruma_common::{OwnedUserId, UserId};
use starling_db::{Error, Row, Tx};

use crate::numbers::UserNum;
use crate::user_words::{words_delete, words_of_id_set};

starling_db::statements! {
    /// A new account, unless the user has one.
    ACCOUNT_INSERT = "INSERT INTO accounts (user_num, kind, is_admin, password_hash, created_at) \
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (user_num) DO NOTHING";
    /// An account by user id.
    ACCOUNT_FIND = "SELECT a.user_num, u.user_id, a.kind, a.is_admin, a.created_at, a.deactivated_at, a.locked_at, \
        a.suspended_at \
        FROM users u JOIN accounts a ON a.user_num = u.user_num WHERE u.user_id = ?1";
    /// An account by number.
    ACCOUNT_READ = "SELECT a.user_num, u.user_id, a.kind, a.is_admin, a.created_at, a.deactivated_at, a.locked_at, \
        a.suspended_at \
        FROM accounts a JOIN users u ON u.user_num = a.user_num WHERE a.user_num = ?1";
    /// One page of all accounts.
    ACCOUNT_LIST = "SELECT a.user_num, u.user_id, a.kind, a.is_admin, a.created_at, a.deactivated_at, a.locked_at, \
        a.suspended_at \
        FROM accounts a JOIN users u ON u.user_num = a.user_num WHERE a.user_num > ?1 ORDER BY a.user_num LIMIT ?2";
    /// The password hash of an account that is in use.
    ACCOUNT_PASSWORD = "SELECT password_hash FROM accounts WHERE user_num = ?1 AND deactivated_at IS NULL";
    /// Another password hash for an account that is in use.
    ACCOUNT_PASSWORD_SET = "UPDATE accounts SET password_hash = ?2 WHERE user_num = ?1 AND deactivated_at IS NULL";
    /// A guest's account that becomes a user's.
    ACCOUNT_UPGRADE = "UPDATE accounts SET kind = 0, password_hash = ?2 \
        WHERE user_num = ?1 AND kind = 1 AND deactivated_at IS NULL";
    /// The end of an account.
    ACCOUNT_DEACTIVATE = "UPDATE accounts SET password_hash = NULL, deactivated_at = ?2 \
        WHERE user_num = ?1 AND deactivated_at IS NULL";
    /// Since when an account is erased.
    ACCOUNT_ERASE = "UPDATE accounts SET erased_at = ?2 WHERE user_num = ?1";
    /// Since when an account is locked.
    ACCOUNT_LOCK = "UPDATE accounts SET locked_at = ?2 WHERE user_num = ?1";
    /// Since when an account is suspended.
    ACCOUNT_SUSPEND = "UPDATE accounts SET suspended_at = ?2 WHERE user_num = ?1";
}

/// What kind of account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// A user's.
    User,
    /// A guest's: without a password, and with few rights.
    Guest,
}

impl AccountKind {
    fn code(self) -> i64 {
        match self {
            Self::User => 0,
            Self::Guest => 1,
        }
    }

    pub(crate) fn from_code(code: i64) -> Result<Self, Error> {
        match code {
            0 => Ok(Self::User),
            1 => Ok(Self::Guest),
            _ => Err(Error::Damaged(format!(
                "there is no kind {code} of accounts"
            ))),
        }
    }
}

/// An account, without its password hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: OwnedUserId,
    /// User or guest.
    pub kind: AccountKind,
    /// Whether the user is an administrator of this server.
    pub is_admin: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970; `None` while the account is in use.
    pub deactivated_at: Option<i64>,
    /// Since when nothing works but logging out: milliseconds since 1970.
    pub locked_at: Option<i64>,
    /// Since when the user may read, and hardly write: milliseconds since 1970.
    pub suspended_at: Option<i64>,
}

/// An account that is to be.
#[derive(Clone, Copy)]
pub struct AccountInsert<'a> {
    /// The user, interned.
    pub user: UserNum,
    /// User or guest.
    pub kind: AccountKind,
    /// Whether the user is an administrator of this server.
    pub is_admin: bool,
    /// In the PHC string format; `None` when nobody can log in by password.
    pub password_hash: Option<&'a str>,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// What a write that touches the sessions or the password of `user` locks (`Write::locking`), so that two nodes don't
/// change them at the same time. Below 0: above are the rooms'.
#[must_use]
pub fn lock_key(user: UserNum) -> i64 {
    -user.0
}

/// Makes an account. False when the user has one already, in use or deactivated.
///
/// # Errors
/// When the database fails.
pub fn account_insert(tx: &mut Tx<'_>, account: &AccountInsert<'_>) -> Result<bool, Error> {
    let params = [
        account.user.into(),
        account.kind.code().into(),
        account.is_admin.into(),
        account.password_hash.into(),
        account.created_at.into(),
    ];
    let is_new = tx.execute(&ACCOUNT_INSERT, &params)? == 1;
    if is_new {
        words_of_id_set(tx, account.user)?;
    }
    Ok(is_new)
}

/// The account of `user`, if it is one of this server's.
///
/// # Errors
/// When the database cannot be read.
pub fn account_find(tx: &mut Tx<'_>, user: &UserId) -> Result<Option<Account>, Error> {
    tx.query_one(&ACCOUNT_FIND, &[user.as_str().into()], read_account)
}

/// The account of the user with this number, if it is one of this server's.
///
/// # Errors
/// When the database cannot be read.
pub fn account_read(tx: &mut Tx<'_>, user: UserNum) -> Result<Option<Account>, Error> {
    tx.query_one(&ACCOUNT_READ, &[user.into()], read_account)
}

/// At most `limit` accounts in the order of their numbers, those above `after` (`UserNum(0)`: from the first).
///
/// # Errors
/// When the database cannot be read.
pub fn account_list(tx: &mut Tx<'_>, after: UserNum, limit: u32) -> Result<Vec<Account>, Error> {
    tx.query_all(
        &ACCOUNT_LIST,
        &[after.into(), i64::from(limit).into()],
        read_account,
    )
}

/// The password hash of `user`; `None` when there is no such account in use or it has no password.
///
/// # Errors
/// When the database cannot be read.
pub fn password_read(tx: &mut Tx<'_>, user: UserNum) -> Result<Option<String>, Error> {
    let hash = tx.query_one(&ACCOUNT_PASSWORD, &[user.into()], |row| {
        Ok(row.opt_text(0)?.map(str::to_owned))
    })?;
    Ok(hash.flatten())
}

/// Replaces the password hash of `user`. False when there is no such account in use.
///
/// # Errors
/// When the database fails.
pub fn password_set(tx: &mut Tx<'_>, user: UserNum, hash: &str) -> Result<bool, Error> {
    Ok(tx.execute(&ACCOUNT_PASSWORD_SET, &[user.into(), hash.into()])? == 1)
}

/// Makes the account of a guest a user's, with this password hash. False when `user` is no guest (any longer). What a node
/// remembers of the sessions is the caller's to forget.
///
/// # Errors
/// When the database fails.
pub fn guest_upgrade(tx: &mut Tx<'_>, user: UserNum, hash: &str) -> Result<bool, Error> {
    Ok(tx.execute(&ACCOUNT_UPGRADE, &[user.into(), hash.into()])? == 1)
}

/// Deactivates the account of `user` at `now_ms` and removes its password; its name stays taken, and
/// searches find it no longer. False when there is
/// no such account in use. Its devices and tokens are the caller's to delete, in the same transaction.
///
/// # Errors
/// When the database fails.
pub fn account_deactivate(tx: &mut Tx<'_>, user: UserNum, now_ms: i64) -> Result<bool, Error> {
    let is_ended = tx.execute(&ACCOUNT_DEACTIVATE, &[user.into(), now_ms.into()])? == 1;
    if is_ended {
        words_delete(tx, user)?;
    }
    Ok(is_ended)
}

/// Notes that the user wants to be forgotten, at `now_ms`: who joins a room later sees their events redacted.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn account_erase(tx: &mut Tx<'_>, user: UserNum, now_ms: i64) -> Result<(), Error> {
    tx.execute_one(&ACCOUNT_ERASE, &[user.into(), now_ms.into()])
}

/// Locks the account of `user` since `since` (milliseconds since 1970), or unlocks it.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn account_lock(tx: &mut Tx<'_>, user: UserNum, since: Option<i64>) -> Result<(), Error> {
    tx.execute_one(&ACCOUNT_LOCK, &[user.into(), since.into()])
}

/// Suspends the account of `user` since `since` (milliseconds since 1970), or ends that.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn account_suspend(tx: &mut Tx<'_>, user: UserNum, since: Option<i64>) -> Result<(), Error> {
    tx.execute_one(&ACCOUNT_SUSPEND, &[user.into(), since.into()])
}

fn read_account(row: &dyn Row) -> Result<Account, Error> {
    Ok(Account {
        user: UserNum(row.int(0)?),
        user_id: read_user_id(row, 1)?,
        kind: AccountKind::from_code(row.int(2)?)?,
        is_admin: row.truth(3)?,
        created_at: row.int(4)?,
        deactivated_at: row.opt_int(5)?,
        locked_at: row.opt_int(6)?,
        suspended_at: row.opt_int(7)?,
    })
}

pub(crate) fn read_user_id(row: &dyn Row, column: usize) -> Result<OwnedUserId, Error> {
    let text = row.text(column)?;
    UserId::parse(text).map_err(|_| Error::Damaged(format!("{text:?} is no user id")))
}
