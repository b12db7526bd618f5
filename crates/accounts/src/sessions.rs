//! Sessions: whose an access token is, and how sessions begin and end.
//! <https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices>

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ruma_common::OwnedUserId;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_runtime::Chance;
use starling_store::accounts::{AccountKind, lock_key};
use starling_store::devices::{self, EndedSession, TokenHash, TokenOwner};
use starling_store::{DeviceNum, UserNum};

use crate::token::hash_presented;
use crate::{Accounts, Shared};

/// How often it is noted when a device was seen, in milliseconds.
const SEEN_EVERY_MS: i64 = 3 * 60 * 1000;

/// The letters of a device id that the server makes.
const DEVICE_ID_LETTERS: usize = 10;

/// The longest device id, in bytes.
const DEVICE_ID_BYTES: usize = 255;

/// The longest display name of a device, in bytes.
const DEVICE_NAME_BYTES: usize = 512;

/// A session: a device of a user that has a valid access token.
#[derive(Clone)]
pub struct Session {
    /// The user.
    pub user: UserNum,
    /// The user's name.
    pub user_id: OwnedUserId,
    /// The device.
    pub device: DeviceNum,
    /// The device's id.
    pub device_id: Arc<str>,
    /// Whether it is a guest's account.
    pub is_guest: bool,
    /// Whether the user is an administrator of this server.
    pub is_admin: bool,
    token: TokenHash,
    /// When it was last noted that the device was seen: milliseconds since 1970.
    seen_at: Arc<AtomicI64>,
}

impl Session {
    pub(crate) fn new(token: TokenHash, owner: TokenOwner) -> Self {
        Self {
            user: owner.user,
            user_id: owner.user_id,
            device: owner.device,
            device_id: owner.device_id,
            is_guest: owner.kind == AccountKind::Guest,
            is_admin: owner.is_admin,
            token,
            seen_at: Arc::new(AtomicI64::new(owner.last_seen_at.unwrap_or(0))),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut session = f.debug_struct("Session");
        session
            .field("user_id", &self.user_id)
            .field("device_id", &self.device_id);
        session.finish_non_exhaustive()
    }
}

/// The device that a session begins on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewDevice {
    /// A known device's id, or a new one's; one is made when there is none or it is empty.
    pub id: Option<String>,
    /// The name of a new device; a known device keeps the one that it has.
    pub display_name: Option<String>,
}

/// A device that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The id is too long.
    #[error("the device id is longer than {DEVICE_ID_BYTES} bytes")]
    IdTooLong,
    /// The display name is too long.
    #[error("the device's display name is longer than {DEVICE_NAME_BYTES} bytes")]
    NameTooLong,
}

impl NewDevice {
    /// The id and the display name, within bounds.
    pub(crate) fn check(self, chance: &Chance) -> Result<(String, Option<String>), DeviceError> {
        let id = self.id.filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| chance.token(DEVICE_ID_LETTERS).to_ascii_uppercase());
        if id.len() > DEVICE_ID_BYTES {
            return Err(DeviceError::IdTooLong);
        }
        match &self.display_name {
            Some(name) if name.len() > DEVICE_NAME_BYTES => Err(DeviceError::NameTooLong),
            _ => Ok((id, self.display_name)),
        }
    }
}

/// A session that is to begin.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    pub(crate) device_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) token: TokenHash,
    pub(crate) now_ms: i64,
}

/// Begins a session of `user`. The one that the device had until now has ended, for [`place_ended`].
pub(crate) fn begin(
    tx: &mut Tx<'_>,
    user: UserNum,
    new: &NewSession,
) -> Result<EndedSession, Error> {
    let name = new.display_name.as_deref();
    let device = devices::device_upsert(tx, user, &new.device_id, name, new.now_ms)?;
    let ended = devices::device_tokens_delete(tx, device)?;
    devices::token_insert(tx, &new.token, user, device, new.now_ms)?;
    Ok(ended)
}

/// Logs sessions that ended within this transaction. After its commit their tokens are worth nothing, and their long
/// polls wake up.
pub(crate) fn place_ended(
    tx: &mut Tx<'_>,
    positions: &mut Positions,
    shared: &Arc<Shared>,
    user: UserNum,
    ended: Vec<EndedSession>,
) -> Result<(), Error> {
    for session in ended {
        if session.tokens.is_empty() {
            continue;
        }
        let position = positions.give()?;
        devices::revocation_insert(tx, position, user, session.device)?;
        let shared = Arc::clone(shared);
        tx.after_commit(move || {
            shared.sessions.forget(&session.tokens);
            let topics = [Topic::Device(session.device.0)];
            shared.setup.bus.advance(position, &topics);
        });
    }
    Ok(())
}

impl Accounts {
    /// Whose `token` is; `None` when it is nobody's (any longer).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Session>, Error> {
        match hash_presented(token) {
            Some(hash) => self.session(hash).await,
            None => Ok(None),
        }
    }

    /// Whether the token that `session` was authenticated by is still good: a long poll asks when it is woken for its
    /// device.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_valid(&self, session: &Session) -> Result<bool, Error> {
        Ok(self.session(session.token).await?.is_some())
    }

    async fn session(&self, token: TokenHash) -> Result<Option<Session>, Error> {
        let cache = &self.shared.sessions;
        if let Some(session) = cache.get(&token) {
            return Ok(Some(session));
        }
        let ticket = cache.ticket();
        let find = move |tx: &mut Tx<'_>| devices::token_find(tx, &token);
        let owner = self.store().db().read("authenticate", find).await?;
        let session = owner.map(|owner| Session::new(token, owner));
        if let Some(session) = &session {
            cache.fill(ticket, token, session.clone());
        }
        Ok(session)
    }

    /// Notes that the device of `session` is here now, at `address`: at most every three minutes, without waiting, and
    /// it may be lost in a crash. To be called, within the runtime, for every authenticated request.
    pub fn seen(&self, session: &Session, address: Option<IpAddr>) {
        let now_ms = self.now_ms();
        let last = session.seen_at.load(Ordering::Relaxed);
        let is_due = now_ms - last >= SEEN_EVERY_MS;
        let exchange = |to| {
            session
                .seen_at
                .compare_exchange(last, to, Ordering::Relaxed, Ordering::Relaxed)
        };
        if !is_due || exchange(now_ms).is_err() {
            return;
        }
        let (db, device) = (self.store().db().clone(), session.device);
        let address = address.map(|address| address.to_string());
        tokio::spawn(async move {
            let note =
                move |tx: &mut Tx<'_>| devices::device_seen(tx, device, now_ms, address.as_deref());
            if let Err(error) = db.write(Write::new("device_seen").relaxed(), note).await {
                tracing::debug!(%error, "a device's last sight was not stored");
            }
        });
    }

    /// Ends `session`: its device and tokens are deleted.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn logout(&self, session: &Session) -> Result<(), Error> {
        let device = session.device;
        let work = move |tx: &mut Tx<'_>| Ok(Some(vec![devices::device_delete(tx, device)?]));
        self.end_sessions("logout", session.user, work)
            .await
            .map(drop)
    }

    /// Ends all sessions of `user`: their devices and tokens are deleted.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn logout_all(&self, user: UserNum) -> Result<(), Error> {
        let work = move |tx: &mut Tx<'_>| devices::user_devices_delete(tx, user, None).map(Some);
        self.end_sessions("logout_all", user, work).await.map(drop)
    }

    /// Does what ends sessions of `user`. False when `work` finds nothing to do.
    pub(crate) async fn end_sessions<E: From<Error> + Send + 'static>(
        &self,
        what: &'static str,
        user: UserNum,
        work: impl FnMut(&mut Tx<'_>) -> Result<Option<Vec<EndedSession>>, E> + Send + 'static,
    ) -> Result<bool, E> {
        let write = Write::new(what).locking([lock_key(user)]);
        let shared = Arc::clone(&self.shared);
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ended| match ended {
            Some(ended) => {
                place_ended(tx, positions, &shared, user, ended)?;
                Ok(true)
            }
            None => Ok(false),
        };
        self.store().db().write_placed(write, work, place).await
    }
}
