//! Locking and suspending accounts. <https://spec.matrix.org/v1.19/client-server-api/#account-moderation>

use std::sync::Arc;

use ruma_common::UserId;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::accounts::{self, Account, lock_key};
use starling_store::devices;

use crate::{Accounts, Session};

/// What administrators restrict an account by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// Nothing works but logging out.
    Lock,
    /// Reading works, and hardly any writing.
    Suspension,
}

impl Restriction {
    /// Whether `account` is under it.
    #[must_use]
    pub fn holds(self, account: &Account) -> bool {
        match self {
            Self::Lock => account.locked_at.is_some(),
            Self::Suspension => account.suspended_at.is_some(),
        }
    }
}

/// Why an account is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ModerationError {
    /// There is no such account in use.
    #[error("there is no such account")]
    Unknown,
    /// It is one's own.
    #[error("nobody can restrict their own account")]
    Own,
    /// It is another administrator's.
    #[error("nobody can restrict an administrator")]
    Admin,
    /// The database failed.
    #[error("the restriction could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// The account of `user_id` that `admin` asks about: one that is in use, and no other administrator's.
    ///
    /// # Errors
    /// Why it cannot be told of.
    pub async fn moderated(
        &self,
        admin: &Session,
        user_id: &UserId,
    ) -> Result<Account, ModerationError> {
        let (admin, user_id) = (admin.clone(), user_id.to_owned());
        let find = move |tx: &mut Tx<'_>| Ok::<_, Error>(find(tx, &admin, &user_id));
        self.store().db().read("account_find", find).await?
    }

    /// Puts the account of `user_id` under a restriction, or ends it. Sessions live on; long polls of a locked account end.
    ///
    /// # Errors
    /// Why the account is as it was.
    pub async fn restrict(
        &self,
        admin: &Session,
        user_id: &UserId,
        (restriction, holds): (Restriction, bool),
    ) -> Result<(), ModerationError> {
        let user = self.moderated(admin, user_id).await?.user;
        if user == admin.user {
            return Err(ModerationError::Own);
        }
        let (by, whom, at) = (admin.clone(), user_id.to_owned(), self.now_ms());
        let shared = Arc::clone(&self.shared);
        let write = Write::new("account_restrict").locking([lock_key(user)]);
        let work = move |tx: &mut Tx<'_>| {
            let account = find(tx, &by, &whom)?;
            if restriction.holds(&account) == holds {
                return Ok::<_, ModerationError>(Vec::new());
            }
            let since = holds.then_some(at);
            match restriction {
                Restriction::Lock => accounts::account_lock(tx, user, since)?,
                Restriction::Suspension => accounts::account_suspend(tx, user, since)?,
            }
            Ok(devices::user_sessions(tx, user, None)?)
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, sessions: Vec<_>| {
            for devices::EndedSession { device, tokens } in sessions {
                let position = positions.give()?;
                devices::revocation_insert(tx, position, user, device)?;
                let shared = Arc::clone(&shared);
                tx.after_commit(move || {
                    shared.sessions.forget(&tokens);
                    shared
                        .setup
                        .bus
                        .advance(position, &[Topic::Device(device.0)]);
                });
            }
            Ok(())
        };
        self.store().db().write_placed(write, work, place).await?;
        tracing::info!(admin = %admin.user_id, user = %user_id, ?restriction, holds, "an account was moderated");
        Ok(())
    }
}

fn find(tx: &mut Tx<'_>, admin: &Session, user_id: &UserId) -> Result<Account, ModerationError> {
    let account = accounts::account_find(tx, user_id)?;
    let account = account.filter(|account| account.deactivated_at.is_none());
    let account = account.ok_or(ModerationError::Unknown)?;
    if account.is_admin && account.user != admin.user {
        return Err(ModerationError::Admin);
    }
    Ok(account)
}
