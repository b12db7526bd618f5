//! Sessions: whose an access token is, and how sessions begin and end.
//! <https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices>

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ruma_common::OwnedUserId;
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::accounts::{AccountKind, lock_key};
use starling_store::devices::{self, Ended, EndedSession, NewTokens, TokenHash, TokenOwner};
use starling_store::{DeviceNum, UserNum, login_tokens};

use crate::token::{Token, TokenKind, hash_presented};
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
    /// Whether the user may read, but hardly write: <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>
    pub is_suspended: bool,
    /// Milliseconds since 1970.
    locked_at: Option<i64>,
    /// Milliseconds since 1970; `None` is never.
    expires_at: Option<i64>,
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
            is_suspended: owner.suspended_at.is_some(),
            locked_at: owner.locked_at,
            expires_at: owner.expires_at,
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

/// What became of an access token.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// It is valid.
    Granted(Session),
    /// It is valid, but the account is locked.
    Locked(Session),
    /// It must be renewed with the refresh token that came with it, or by a login on the same device.
    Expired,
    /// It is nobody's (any longer).
    Unknown,
}

/// The device that a session begins on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewDevice {
    /// A known device's id, or a new one's; one is made when there is none or it is empty.
    pub id: Option<String>,
    /// The name of a new device; a known device keeps the one that it has.
    pub display_name: Option<String>,
    /// Whether its client renews its access token, which then expires.
    pub refreshes: bool,
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

/// A session that is to begin.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    pub(crate) device_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) tokens: NewTokens,
    pub(crate) now_ms: i64,
}

/// Tokens that are to be, as their client gets them.
pub(crate) struct IssuedTokens {
    pub(crate) access: Token,
    pub(crate) refresh: Option<Token>,
    pub(crate) expires_in_ms: Option<i64>,
}

impl IssuedTokens {
    /// As they are kept.
    pub(crate) fn to_store(&self, now_ms: i64, replaces: Option<TokenHash>) -> NewTokens {
        NewTokens {
            access: self.access.hash(),
            expires_at: self.expires_in_ms.map(|after| now_ms.saturating_add(after)),
            refresh: self.refresh.as_ref().map(Token::hash),
            replaces,
        }
    }
}

/// Whether a device may have this name.
pub(crate) fn check_device_name(name: &str) -> Result<(), DeviceError> {
    if name.len() > DEVICE_NAME_BYTES {
        Err(DeviceError::NameTooLong)
    } else {
        Ok(())
    }
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
    devices::tokens_insert(tx, &new.tokens, user, device, new.now_ms)?;
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

/// Logs that devices of `user` are gone, or are called otherwise, whose keys others know.
pub(crate) fn place_devices(
    tx: &mut Tx<'_>,
    positions: &mut Positions,
    shared: &Arc<Shared>,
    user: UserNum,
    device_ids: Vec<String>,
) -> Result<(), Error> {
    let (store, device_ids) = (&shared.setup.store, device_ids.into_iter().collect());
    let change = store.device_list_change(tx, positions, user, &device_ids)?;
    let shared = Arc::clone(shared);
    tx.after_commit(move || {
        let rooms = change.rooms.iter().map(|room| room.0);
        let topics = Topic::of_devices(change.user.0, rooms);
        shared.setup.bus.advance(change.position, &topics);
    });
    Ok(())
}

impl Accounts {
    /// Whose `token` is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn authenticate(&self, token: &str) -> Result<Authentication, Error> {
        match hash_presented(token) {
            Some(hash) => self.authenticate_hash(hash).await,
            None => Ok(Authentication::Unknown),
        }
    }

    /// What has become of the token that `session` was authenticated by: a long poll asks before it answers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn authenticate_again(&self, session: &Session) -> Result<Authentication, Error> {
        self.authenticate_hash(session.token).await
    }

    async fn authenticate_hash(&self, token: TokenHash) -> Result<Authentication, Error> {
        let Some(session) = self.session(token).await? else {
            return Ok(Authentication::Unknown);
        };
        let has_expired = |at| at <= self.now_ms();
        Ok(if session.expires_at.is_some_and(has_expired) {
            Authentication::Expired
        } else if session.locked_at.is_some() {
            Authentication::Locked(session)
        } else {
            Authentication::Granted(session)
        })
    }

    async fn session(&self, token: TokenHash) -> Result<Option<Session>, Error> {
        let cache = &self.shared.sessions;
        if let Some(session) = cache.get(&token) {
            return Ok(Some(session));
        }
        let ticket = cache.ticket();
        let find = move |tx: &mut Tx<'_>| devices::token_find(tx, &token);
        let Some(owner) = self.store().db().read("authenticate", find).await? else {
            return Ok(None);
        };
        if owner.replaces.is_some() {
            self.confirm(owner.user, token).await?;
        }
        let session = Session::new(token, owner);
        cache.fill(ticket, token, session.clone());
        Ok(Some(session))
    }

    /// The session that begins on `device`, and its tokens.
    pub(crate) fn new_session(
        &self,
        device: NewDevice,
    ) -> Result<(NewSession, IssuedTokens), DeviceError> {
        let chance = &self.setup().chance;
        let id = device.id.filter(|id| !id.is_empty());
        let device_id = id.unwrap_or_else(|| chance.token(DEVICE_ID_LETTERS).to_ascii_uppercase());
        if device_id.len() > DEVICE_ID_BYTES {
            return Err(DeviceError::IdTooLong);
        }
        if let Some(name) = &device.display_name {
            check_device_name(name)?;
        }
        let (tokens, now_ms) = (self.issue_tokens(device.refreshes), self.now_ms());
        let session = NewSession {
            device_id,
            display_name: device.display_name,
            tokens: tokens.to_store(now_ms, None),
            now_ms,
        };
        Ok((session, tokens))
    }

    /// New tokens: an access token, and with `refreshes` a refresh token for when it has expired.
    pub(crate) fn issue_tokens(&self, refreshes: bool) -> IssuedTokens {
        let setup = self.setup();
        let lifetime = setup.access_token_lifetime.as_millis();
        IssuedTokens {
            access: Token::new(TokenKind::Access, &setup.chance),
            refresh: refreshes.then(|| Token::new(TokenKind::Refresh, &setup.chance)),
            expires_in_ms: refreshes.then(|| i64::try_from(lifetime).unwrap_or(i64::MAX)),
        }
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
        let (user, device) = (session.user, session.device);
        let work = move |tx: &mut Tx<'_>| {
            // The session may have asked for one, which would outlive it.
            login_tokens::delete_of_user(tx, user)?;
            devices::device_delete(tx, device).map(Some)
        };
        self.end_sessions("logout", session.user, work)
            .await
            .map(drop)
    }

    /// Ends all sessions of `user`: their devices and tokens are deleted.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn logout_all(&self, user: UserNum) -> Result<(), Error> {
        let work = move |tx: &mut Tx<'_>| {
            // Else one could begin a session yet.
            login_tokens::delete_of_user(tx, user)?;
            devices::user_devices_delete(tx, user, None).map(Some)
        };
        self.end_sessions("logout_all", user, work).await.map(drop)
    }

    /// Does what ends sessions of `user`. False when `work` finds nothing to do. Who knew devices that are gone is told.
    pub(crate) async fn end_sessions<E: From<Error> + Send + 'static>(
        &self,
        what: &'static str,
        user: UserNum,
        work: impl FnMut(&mut Tx<'_>) -> Result<Option<Ended>, E> + Send + 'static,
    ) -> Result<bool, E> {
        let write = Write::new(what).locking([lock_key(user)]);
        let shared = Arc::clone(&self.shared);
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, ended| {
            let Some(Ended { sessions, devices }) = ended else {
                return Ok(false);
            };
            place_ended(tx, positions, &shared, user, sessions)?;
            if !devices.is_empty() {
                place_devices(tx, positions, &shared, user, devices)?;
            }
            Ok(true)
        };
        self.store().db().write_placed(write, work, place).await
    }
}
