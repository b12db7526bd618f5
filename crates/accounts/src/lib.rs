//! Accounts of this server: registration, login and sessions, passwords, profiles, account data and filters.
//!
//! [`Accounts`] is all of it, cheap to clone. What a caller does, in order of use:
//!
//! * [`Accounts::authenticate`] tells whose an access token is, from memory when it can, and [`Accounts::seen`] notes
//!   that the device was here;
//! * [`Accounts::register`], [`Accounts::login_password`] and [`Accounts::login_by_token`] begin sessions, and
//!   [`Accounts::refresh`] renews their tokens; [`Accounts::logout`],
//!   [`Accounts::logout_all`], [`Accounts::set_password`] and [`Accounts::deactivate`] end them: each in one
//!   transaction, and after its commit the token is worth nothing and the device's long polls wake up;
//! * [`SharedSecret`] lets tools register accounts that know a secret of the configuration;
//! * the rest reads and writes what belongs to one account.
//!
//! Secrets: passwords are hashed with argon2id, tokens with SHA-256 (they are random enough); neither is logged.

mod account_data;
mod devices;
mod filters;
mod guests;
mod interactive_auth;
mod json;
mod login;
mod login_tokens;
mod manage;
mod moderation;
mod openid;
mod password;
mod profile;
mod push_rules;
mod pushers;
mod refresh;
mod register;
mod registration_tokens;
mod reports;
mod session_cache;
mod sessions;
mod shared_secret;
mod tags;
mod token;
mod turn;
mod user_id;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ruma_common::{OwnedServerName, ServerName};
use starling_bus::Bus;
use starling_runtime::{Chance, Clock, Cpu};
use starling_store::Store;

use crate::session_cache::SessionCache;

pub use account_data::{ACCOUNT_DATA_BYTES, AccountDataError};
pub use devices::RenameError;
pub use filters::{FILTER_BYTES, FILTERS_PER_USER, FilterError};
pub use guests::GuestUpgrade;
pub use interactive_auth::{
    INTERACTIVE_SESSION_MS, InteractiveSession, Operation, Stage, session_secret,
};
pub use login::{LoggedIn, LoginError, PasswordLogin};
pub use login_tokens::LOGIN_TOKEN_LIFETIME;
pub use manage::{KeepSession, SetPasswordError};
pub use moderation::{ModerationError, Restriction};
pub use openid::OPENID_TOKEN_LIFETIME;
pub use password::{HashError, InvalidCost, PASSWORD_BYTES, PasswordCost, PasswordError};
pub use profile::{FieldName, ProfileError};
pub use push_rules::PushRulesError;
pub use pushers::{PUSHERS_PER_USER, PusherError};
pub use refresh::{RefreshError, Refreshed};
pub use register::{NewAccount, RegisterError, Registered};
pub use registration_tokens::{NewRegistrationToken, RegistrationTokenError, ShownToken};
pub use sessions::{Authentication, DeviceError, NewDevice, Session};
pub use shared_secret::{SharedSecret, SharedSecretError, SharedSecretRequest};
pub use starling_store::accounts::{Account, AccountKind};
pub use starling_store::devices::Device;
pub use starling_store::interactive_sessions::DoneStages;
pub use starling_store::registration_tokens::RegistrationToken;
pub use starling_store::reports::{Report, Reported};
pub use tags::TAG_BYTES;
pub use token::Token;
pub use turn::TurnCredentials;

/// What [`Accounts`] works with.
pub struct Setup {
    /// The database.
    pub store: Store,
    /// Hears of every change, after its commit.
    pub bus: Bus,
    /// Tells the time.
    pub clock: Clock,
    /// Makes tokens, salts and names.
    pub chance: Chance,
    /// Hashes passwords.
    pub cpu: Cpu,
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
    /// What ids of interactive authentications are authenticated by: see [`session_secret`].
    pub session_secret: [u8; 32],
    /// How long the access token of a client that renews it is good.
    pub access_token_lifetime: Duration,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut setup = f.debug_struct("Setup");
        setup
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The accounts of this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    sessions: SessionCache,
}

impl Accounts {
    /// The accounts in `setup.store`.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let sessions = SessionCache::new(setup.store.db().dialect());
        Self {
            shared: Arc::new(Shared { setup, sessions }),
        }
    }

    fn setup(&self) -> &Setup {
        &self.shared.setup
    }

    fn store(&self) -> &Store {
        &self.shared.setup.store
    }

    /// The name of this server.
    #[must_use]
    pub fn server_name(&self) -> &ServerName {
        &self.shared.setup.server_name
    }

    fn now_ms(&self) -> i64 {
        self.shared.setup.clock.now_ms()
    }
}
