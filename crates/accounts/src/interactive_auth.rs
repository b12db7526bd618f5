//! Interactive authentication: which stages are done for what a client wants to do.
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>
//!
//! A session's id says when it began, for whom and for what, and carries a MAC. So it costs nothing to begin one, and a row
//! is stored only when a stage is done by another way than the request itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use starling_db::{Error, Tx, Write};
use starling_runtime::Chance;
use starling_store::interactive_sessions::{self, DoneStages};
use starling_store::{Store, UserNum, server};

use crate::Accounts;

/// How long an interactive authentication may take, in milliseconds.
pub const INTERACTIVE_SESSION_MS: i64 = 3_600_000;

/// Bytes of an id: when, for whom, for what, chance, MAC.
const ID_BYTES: usize = TIME + USER + OPERATION + CHANCE + MAC;
const TIME: usize = 8;
const USER: usize = 8;
const OPERATION: usize = 16;
const CHANCE: usize = 8;
const MAC: usize = 16;

/// A stage of interactive authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The user's password.
    Password,
    /// Nothing.
    Dummy,
    /// A token that whoever may register was given.
    RegistrationToken,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 3] = [Self::Password, Self::Dummy, Self::RegistrationToken];

    /// Its name in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
        }
    }

    /// The stage of this name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }
}

/// What is to be authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Who wants to do it; `None` before there is an account.
    pub user: Option<UserNum>,
    /// What: method and path.
    pub what: &'a str,
}

impl Operation<'_> {
    fn digest(self) -> [u8; OPERATION] {
        let digest = Sha256::digest(self.what.as_bytes());
        let mut first = [0; OPERATION];
        first.copy_from_slice(digest.split_at(OPERATION).0);
        first
    }
}

/// An interactive authentication that has begun, and is not too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InteractiveSession {
    id: String,
    user: i64,
    operation: [u8; OPERATION],
}

impl InteractiveSession {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who wants to do it; `None` before there is an account.
    #[must_use]
    pub fn user(&self) -> Option<UserNum> {
        (self.user != 0).then_some(UserNum(self.user))
    }

    /// Whether it is for this.
    #[must_use]
    pub fn is_for(&self, operation: Operation<'_>) -> bool {
        self.user == user_number(operation.user) && self.operation == operation.digest()
    }
}

/// Makes the secret for [`crate::Setup`], or reads it: the same on all nodes and after a restart.
///
/// # Errors
/// When the database fails.
pub async fn session_secret(store: &Store, chance: &Chance) -> Result<[u8; 32], Error> {
    let mut secret = [0; 32];
    chance.fill(&mut secret);
    let record = move |tx: &mut Tx<'_>| server::session_secret_record(tx, &secret);
    let write = Write::new("session_secret");
    store.db().write(write, record).await
}

impl Accounts {
    /// Begins an interactive authentication. Nothing is stored.
    #[must_use]
    pub fn begin_interactive(&self, operation: Operation<'_>) -> InteractiveSession {
        let mut chance = [0; CHANCE];
        self.setup().chance.fill(&mut chance);
        let user = user_number(operation.user);
        let mut bytes = Vec::with_capacity(ID_BYTES);
        bytes.extend(self.now_ms().to_be_bytes());
        bytes.extend(user.to_be_bytes());
        bytes.extend(operation.digest());
        bytes.extend(chance);
        let tag = self.tag(&bytes);
        bytes.extend(tag);
        InteractiveSession {
            id: URL_SAFE_NO_PAD.encode(&bytes),
            user,
            operation: operation.digest(),
        }
    }

    /// The interactive authentication with this id; `None` when this server did not begin it, or too long ago.
    #[must_use]
    pub fn interactive_session(&self, id: &str) -> Option<InteractiveSession> {
        // The decoder allocates by the length of the text.
        if id.len() > 2 * ID_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
        if bytes.len() != ID_BYTES {
            return None;
        }
        let (said, tag) = bytes.split_at(ID_BYTES - MAC);
        let is_ours = self.mac(said).verify_truncated_left(tag).is_ok();
        let (begun, rest) = said.split_first_chunk::<TIME>()?;
        let (user, rest) = rest.split_first_chunk::<USER>()?;
        let (operation, _) = rest.split_first_chunk::<OPERATION>()?;
        let age_ms = self.now_ms().saturating_sub(i64::from_be_bytes(*begun));
        (is_ours && age_ms <= INTERACTIVE_SESSION_MS).then(|| InteractiveSession {
            id: id.to_owned(),
            user: i64::from_be_bytes(*user),
            operation: *operation,
        })
    }

    /// What is done of an interactive authentication by another way than the request itself.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn done_stages(&self, session: &InteractiveSession) -> Result<DoneStages, Error> {
        let id = session.id.clone();
        let find = move |tx: &mut Tx<'_>| interactive_sessions::find(tx, &id);
        self.store().db().read("interactive_find", find).await
    }

    /// Notes that a stage is done, with the registration token that was shown for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn do_stage(
        &self,
        session: &InteractiveSession,
        stage: Stage,
        token: Option<String>,
    ) -> Result<(), Error> {
        let (id, now_ms) = (session.id.clone(), self.now_ms());
        let work = move |tx: &mut Tx<'_>| {
            let mut done = interactive_sessions::find(tx, &id)?;
            if done.stages.iter().any(|done| done == stage.word()) {
                return Ok::<_, Error>(());
            }
            done.stages.push(stage.word().to_owned());
            done.token = token.clone().or(done.token);
            interactive_sessions::upsert(tx, &id, &done, now_ms)
        };
        let write = Write::new("interactive_upsert");
        self.store().db().write(write, work).await
    }

    /// Removes at most `limit` interactive authentications that are too old; the answer is how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_interactive_sessions(&self, limit: u32) -> Result<u64, Error> {
        let before_ms = self.now_ms().saturating_sub(INTERACTIVE_SESSION_MS);
        let delete = move |tx: &mut Tx<'_>| interactive_sessions::delete_old(tx, before_ms, limit);
        let write = Write::new("interactive_sweep").relaxed();
        self.store().db().write(write, delete).await
    }

    fn mac(&self, said: &[u8]) -> Hmac<Sha256> {
        // HMAC fills a short key up with zeros to the length of a block.
        let mut key = [0; 64];
        key.split_at_mut(32)
            .0
            .copy_from_slice(&self.setup().session_secret);
        let mut mac = Hmac::<Sha256>::new(&key.into());
        mac.update(said);
        mac
    }

    fn tag(&self, said: &[u8]) -> [u8; MAC] {
        let whole = self.mac(said).finalize().into_bytes();
        let mut tag = [0; MAC];
        tag.copy_from_slice(whole.split_at(MAC).0);
        tag
    }
}

/// No user has the number 0.
fn user_number(user: Option<UserNum>) -> i64 {
    user.map_or(0, |user| user.0)
}
