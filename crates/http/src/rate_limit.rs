//! How often one caller may ask: <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>
//!
//! Each kind of action ([`Limited`]) has a token bucket per caller: per user where there is a session, else per address.
//! A bucket is one number (the generic cell rate algorithm): when it will be full again.

mod buckets;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use starling_config::RateLimits;
use starling_runtime::Clock;
use tokio::time::Instant;

use self::buckets::Buckets;
pub(crate) use self::buckets::EVICTIONS;
use crate::MatrixError;
use crate::address::subscriber;

/// What refusals are counted by, for Prometheus.
pub(crate) const REFUSALS: &str = "starling_http_rate_limited_total";

/// Sets of buckets of users; eight buckets and some bytes each, 0.6 MB in all.
const USER_SETS: usize = 1 << 12;
/// Sets of buckets of what strangers can make up, addresses and names: 2.2 MB in all.
const STRANGER_SETS: usize = 1 << 14;

/// So many bytes of messages to devices count as one.
pub const TO_DEVICE_BYTES: usize = 4 << 10;

/// Kinds of action, each with a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Limited {
    /// What puts an event into a room and is nothing of the following: sending, state, redactions, leaving, kicks, bans,
    /// aliases.
    Message,
    /// Joining and knocking.
    Join,
    /// Inviting.
    Invite,
    /// Creating a room.
    RoomCreation,
    /// Changing one's profile.
    Profile,
    /// Changing passwords, devices, push rules and the account itself, and asking for tokens of other kinds.
    AccountChange,
    /// Sending messages to devices, by their bytes: once for each [`TO_DEVICE_BYTES`]. Each request counts as [`Self::Other`]
    /// too.
    ToDevice,
    /// Everything else, with a session: for every route that declares nothing.
    Other,
    /// Everything else, without a session.
    Anonymous,
    /// Logging in.
    Login,
    /// Wrong passwords for one account; to be checked by whoever checks passwords.
    LoginFailures,
    /// Registering.
    Registration,
    /// Asking whether a name is free or a registration token is good.
    RegistrationAvailability,
    /// Renewing an access token.
    Refresh,
    /// Access tokens that nobody has, and signatures that don't hold.
    UnknownTokens,
    /// What other servers ask and send.
    Server,
    /// What costs more of that: states, and what led to them.
    ServerState,
}

impl Limited {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 17] = [
        Self::Message,
        Self::Join,
        Self::Invite,
        Self::RoomCreation,
        Self::Profile,
        Self::AccountChange,
        Self::ToDevice,
        Self::Other,
        Self::Anonymous,
        Self::Login,
        Self::LoginFailures,
        Self::Registration,
        Self::RegistrationAvailability,
        Self::Refresh,
        Self::UnknownTokens,
        Self::Server,
        Self::ServerState,
    ];

    /// Its name in metrics and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Join => "join",
            Self::Invite => "invite",
            Self::RoomCreation => "room_creation",
            Self::Profile => "profile",
            Self::AccountChange => "account_change",
            Self::ToDevice => "to_device",
            Self::Other => "other",
            Self::Anonymous => "anonymous",
            Self::Login => "login",
            Self::LoginFailures => "login_failures",
            Self::Registration => "registration",
            Self::RegistrationAvailability => "registration_availability",
            Self::Refresh => "refresh",
            Self::UnknownTokens => "unknown_tokens",
            Self::Server => "server",
            Self::ServerState => "server_state",
        }
    }

    /// What a route of this kind counts as when its caller has no session.
    pub(crate) fn without_session(self) -> Self {
        match self {
            Self::Other => Self::Anonymous,
            kind => kind,
        }
    }

    /// Whether administrators of the server are free of it: what is done in rooms, as they and their bots clear up there.
    pub(crate) fn spares_admins(self) -> bool {
        matches!(
            self,
            Self::Message | Self::Join | Self::Invite | Self::RoomCreation
        )
    }
}

/// Whom a bucket belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// A user with a session.
    User(i64),
    /// The subscriber at an address; an IPv6 address counts as its /64.
    Address(IpAddr),
    /// The account of this name (a localpart or a whole id of this server, in letters of either case), whoever asks, and
    /// whether there is one or not.
    Account(&'a str),
    /// Another server.
    Server(&'a str),
}

impl Hash for Caller<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        mem::discriminant(self).hash(hasher);
        match *self {
            Self::User(number) => number.hash(hasher),
            Self::Address(address) => subscriber(address).hash(hasher),
            Self::Account(name) => {
                let name = name.strip_prefix('@').unwrap_or(name);
                let localpart = name.split(':').next().unwrap_or(name);
                localpart.to_ascii_lowercase().hash(hasher);
            }
            Self::Server(name) => name.hash(hasher),
        }
    }
}

/// How fast a bucket fills, and what it holds; in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rate {
    /// What one action costs.
    pub(crate) interval: u64,
    /// What a full bucket is good for.
    pub(crate) burst: u64,
}

impl Rate {
    fn new(per: Duration, times: u32, burst: u32) -> Self {
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        // The configuration has refused zeros.
        let interval = (per / u64::from(times).max(1)).max(1);
        Self {
            interval,
            burst: interval.saturating_mul(u64::from(burst).max(1)),
        }
    }
}

/// Counts what callers do, and refuses what is too much. Cheap to clone.
///
/// Its memory is fixed: a full bucket takes none, and when more buckets are in use than there is room for, the one that is
/// nearest to full gives way. So a flood of addresses pushes out its own like, and users are kept apart from it.
#[derive(Clone)]
pub struct RateLimiter {
    /// `None` when there are no limits.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    clock: Clock,
    start: Instant,
    rates: [Rate; Limited::ALL.len()],
    users: Buckets,
    strangers: Buckets,
}

impl RateLimiter {
    /// With these rates.
    #[must_use]
    pub fn new(settings: &RateLimits, clock: Clock) -> Self {
        let shared = settings.enabled.then(|| {
            Arc::new(Shared {
                start: clock.monotonic(),
                clock,
                rates: Limited::ALL.map(|kind| rate(settings, kind)),
                users: Buckets::new(USER_SETS),
                strangers: Buckets::new(STRANGER_SETS),
            })
        });
        Self { shared }
    }

    /// Notes that the caller does this.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`, with the time to wait, when it is too much; then it is not counted.
    pub fn take(&self, kind: Limited, caller: Caller<'_>) -> Result<(), MatrixError> {
        self.take_many(kind, caller, 1)
    }

    /// Notes that the caller does this so many times.
    ///
    /// # Errors
    /// As [`RateLimiter::take`].
    pub fn take_many(
        &self,
        kind: Limited,
        caller: Caller<'_>,
        times: u64,
    ) -> Result<(), MatrixError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let (now, buckets) = (shared.now(), shared.buckets(caller));
        let taken = buckets.take((kind, caller), times, now, &shared.rates);
        taken.map_err(|wait| refuse(kind, wait))
    }

    /// Whether [`RateLimiter::take`] would work now; nothing is counted.
    ///
    /// # Errors
    /// As [`RateLimiter::take`].
    pub fn check(&self, kind: Limited, caller: Caller<'_>) -> Result<(), MatrixError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let (now, buckets) = (shared.now(), shared.buckets(caller));
        let free = buckets.check(kind, caller, now, shared.rate(kind));
        free.map_err(|wait| refuse(kind, wait))
    }

    /// Takes back one [`RateLimiter::take`]: what was counted before its outcome was known turned out harmless.
    pub fn give_back(&self, kind: Limited, caller: Caller<'_>) {
        if let Some(shared) = &self.shared {
            let buckets = shared.buckets(caller);
            buckets.give_back(kind, caller, shared.rate(kind));
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("enabled", &self.shared.is_some())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        let passed = self.clock.monotonic().duration_since(self.start);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }

    fn rate(&self, kind: Limited) -> Rate {
        self.rates
            .get(usize::from(kind as u8))
            .copied()
            .unwrap_or_default()
    }

    fn buckets(&self, caller: Caller<'_>) -> &Buckets {
        match caller {
            Caller::User(_) => &self.users,
            Caller::Address(_) | Caller::Account(_) | Caller::Server(_) => &self.strangers,
        }
    }
}

fn refuse(kind: Limited, wait: Duration) -> MatrixError {
    counter!(REFUSALS, "kind" => kind.word()).increment(1);
    MatrixError::limit_exceeded(wait)
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// The rate of a kind, by the configuration or (where nobody would change it) fixed.
fn rate(settings: &RateLimits, kind: Limited) -> Rate {
    let s = settings;
    let (per, times, burst) = match kind {
        Limited::Message => (SECOND, s.messages_per_second, s.messages_burst),
        Limited::Join => (MINUTE, s.joins_per_minute, s.joins_burst),
        Limited::Invite => (MINUTE, s.invites_per_minute, s.invites_burst),
        Limited::RoomCreation => (MINUTE, s.rooms_per_minute, s.rooms_burst),
        Limited::Profile => (
            MINUTE,
            s.profile_changes_per_minute,
            s.profile_changes_burst,
        ),
        Limited::AccountChange => (
            MINUTE,
            s.account_changes_per_minute,
            s.account_changes_burst,
        ),
        // 256 KiB, and at once 32 MiB: the keys of many large rooms.
        Limited::ToDevice => (SECOND, 64, 8_192),
        Limited::Other => (SECOND, s.requests_per_second, s.requests_burst),
        Limited::Anonymous => (
            SECOND,
            s.anonymous_requests_per_second,
            s.anonymous_requests_burst,
        ),
        Limited::Login => (MINUTE, s.logins_per_minute, s.logins_burst),
        Limited::LoginFailures => (MINUTE, s.login_failures_per_minute, s.login_failures_burst),
        Limited::Registration => (MINUTE, s.registrations_per_minute, s.registrations_burst),
        // A person types a name, and the client asks at each pause.
        Limited::RegistrationAvailability => (MINUTE, 60, 60),
        // Every client of an office may renew its token every few minutes.
        Limited::Refresh => (SECOND, 5, 100),
        // Nobody guesses a token; it is the look-ups in the database that are bounded. After a restored backup every client
        // of an office may come with one that is not known.
        Limited::UnknownTokens => (SECOND, 2, 200),
        // Who is refused leaves us alone for a while, so only what no server does that means well is.
        Limited::Server => (SECOND, 500, 5_000),
        Limited::ServerState => (SECOND, 50, 1_000),
    };
    Rate::new(per, times, burst)
}
