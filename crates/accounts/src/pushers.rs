//! A user's pushers: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset>

use starling_db::{Error, Tx, Write};
use starling_store::accounts::lock_key;
use starling_store::pushers::{self, Pusher};
use starling_store::{DeviceNum, UserNum, devices};

use crate::Accounts;

/// So many pushers a user may have.
pub const PUSHERS_PER_USER: usize = 100;

/// Why a pusher was not set.
#[derive(Debug, thiserror::Error)]
pub enum PusherError {
    /// The user has [`PUSHERS_PER_USER`] already.
    #[error("you have {PUSHERS_PER_USER} pushers already")]
    TooMany,
    /// The session of the device that sets it has ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
    /// The database failed.
    #[error("the pusher could not be stored")]
    Database(#[from] Error),
}

impl Accounts {
    /// The pushers of `user`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pushers(&self, user: UserNum) -> Result<Vec<Pusher>, Error> {
        let list = move |tx: &mut Tx<'_>| pushers::pusher_list(tx, user);
        self.store().db().read("pusher_list", list).await
    }

    /// Sets a pusher of a device of `user`. Unless it is to `append` to those of others, they lose theirs for the same app
    /// and key: the device has changed hands.
    ///
    /// # Errors
    /// Why it was not set.
    pub async fn set_pusher(
        &self,
        (user, device): (UserNum, DeviceNum),
        pusher: Pusher,
        append: bool,
    ) -> Result<(), PusherError> {
        let now_ms = self.now_ms();
        let work = move |tx: &mut Tx<'_>| {
            // Else the pusher would outlive the session, or its password.
            let sessions = devices::user_sessions(tx, user, None)?;
            if !sessions.iter().any(|session| session.device == device) {
                return Err(PusherError::SessionEnded);
            }
            let mut others = pushers::pusher_list(tx, user)?;
            others.retain(|other| {
                (&other.app_id, &other.pushkey) != (&pusher.app_id, &pusher.pushkey)
            });
            if others.len() >= PUSHERS_PER_USER {
                return Err(PusherError::TooMany);
            }
            if !append {
                pushers::pusher_delete_of_others(tx, user, &pusher.app_id, &pusher.pushkey)?;
            }
            pushers::pusher_set(tx, (user, device), &pusher, now_ms).map_err(PusherError::from)
        };
        let write = Write::new("pusher_set").locking([lock_key(user)]);
        self.store().db().write(write, work).await
    }

    /// Deletes a pusher of `user`, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_pusher(
        &self,
        user: UserNum,
        app_id: String,
        pushkey: String,
    ) -> Result<(), Error> {
        let work = move |tx: &mut Tx<'_>| pushers::pusher_delete(tx, user, &app_id, &pushkey);
        let write = Write::new("pusher_delete").locking([lock_key(user)]);
        self.store().db().write(write, work).await
    }
}
