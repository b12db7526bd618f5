//! A server without sockets: the client API over a test's database, called in the process.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use http::header::AUTHORIZATION;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use starling_accounts::{Accounts, PasswordCost, Setup};
use starling_bus::Bus;
use starling_client_api::{Parts, State};
use starling_config::{Config, Listener, RegistrationMode};
use starling_db::Db;
use starling_delivery::Jobs;
use starling_e2ee::{KeyBackups, ToDevice, ToDeviceParts};
use starling_e2ee::{Keys, KeysParts};
use starling_ephemeral::Ephemeral;
use starling_events::RoomVersion;
use starling_http::{Edge, RateLimiter, Shutdown};
use starling_outbound::{FederationClient, Identity, Transport};
use starling_rooms::{Remote, Rooms};
use starling_runtime::{Chance, Clock, Cpu};
use starling_search::Search;
use starling_store::{CacheSizes, Store};
use starling_sync::Sync;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::database::TestDb;
use crate::remote::{client_by, own_identity, remote_of};

/// When the clock of a test's server starts, in milliseconds since 1970.
const START_MS: i64 = 1_700_000_000_000;

/// A server called `localhost`. It answers as the program does, errors and unknown paths included.
#[derive(Debug)]
pub struct TestServer {
    /// What its handlers work with.
    pub state: State,
    /// Who wakes up.
    pub bus: Bus,
    /// What is to be done afterwards; nothing is until a test says so.
    pub jobs: Jobs,
    app: Router,
    stop_sync: watch::Sender<bool>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TestAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body; null when there is none.
    pub body: Value,
}

impl TestAnswer {
    /// The `errcode`, or nothing.
    #[must_use]
    pub fn errcode(&self) -> &str {
        self.body
            .get("errcode")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Status and `errcode`, for comparing.
    #[must_use]
    pub fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.errcode())
    }
}

impl TestServer {
    /// A configuration for tests: registration is open, passwords cost little, and nobody is limited.
    #[must_use]
    pub fn config() -> Config {
        let mut config = Config::default();
        config.registration.mode = RegistrationMode::Open;
        config.passwords.memory_kib = 8;
        config.passwords.iterations = 1;
        config.rate_limits.enabled = false;
        config
    }

    /// Starts on a database, as the program does.
    ///
    /// # Panics
    /// When the database cannot be read.
    pub async fn start(db: &TestDb) -> Self {
        Self::start_with(db, Self::config()).await
    }

    /// As [`TestServer::start`], with this configuration.
    ///
    /// # Panics
    /// When the database cannot be read, or there are no rooms of the configured version.
    pub async fn start_with(db: &TestDb, config: Config) -> Self {
        let clock = Clock::simulated(START_MS);
        Self::over(db.db().clone(), config, (Cpu::in_place(), chance(), clock)).await
    }

    /// As [`TestServer::start_with`], with other servers at the end of this transport.
    ///
    /// # Panics
    /// As [`TestServer::start_with`].
    pub async fn start_on(db: &TestDb, config: Config, transport: Arc<dyn Transport>) -> Self {
        let clock = Clock::simulated(START_MS);
        let store = store_over(db.db().clone()).await;
        let client = client_by(transport, &clock);
        let remote = remote_of(client.clone(), &store, &clock);
        let means = (Cpu::in_place(), chance(), clock);
        let outside = Some((client, remote));
        Self::build(store, config, means, (own_identity(), outside)).await
    }

    /// As [`TestServer::start_with`], where no time passes: what a limit of rate refuses stays refused.
    ///
    /// # Panics
    /// As [`TestServer::start_with`].
    pub async fn start_timeless(db: &TestDb, config: Config) -> Self {
        let clock = Clock::standing(START_MS);
        Self::over(db.db().clone(), config, (Cpu::in_place(), chance(), clock)).await
    }

    /// As [`TestServer::start_with`], where the same seed makes the same ids and tokens.
    ///
    /// # Panics
    /// As [`TestServer::start_with`].
    pub async fn start_seeded(db: &TestDb, config: Config, seed: u64) -> Self {
        let (chance, clock) = (Chance::seeded(seed), Clock::simulated(START_MS));
        Self::over(db.db().clone(), config, (Cpu::in_place(), chance, clock)).await
    }

    /// As [`TestServer::start`], where passwords are hashed here instead of in place.
    ///
    /// # Panics
    /// As [`TestServer::start`].
    pub async fn start_hashing(db: &TestDb, cpu: Cpu) -> Self {
        let clock = Clock::simulated(START_MS);
        Self::over(db.db().clone(), Self::config(), (cpu, chance(), clock)).await
    }

    /// Another node on the same database (PostgreSQL).
    ///
    /// # Panics
    /// As [`TestServer::start_with`].
    pub async fn second_node(&self, db: Db) -> Self {
        let config = self.state.config.as_ref().clone();
        let clock = Clock::simulated(START_MS);
        Self::over(db, config, (Cpu::in_place(), chance(), clock)).await
    }

    async fn over(db: Db, config: Config, means: (Cpu, Chance, Clock)) -> Self {
        let store = store_over(db).await;
        Self::build(store, config, means, (own_identity(), None)).await
    }

    pub(crate) async fn build(
        store: Store,
        config: Config,
        (cpu, chance, clock): (Cpu, Chance, Clock),
        (identity, outside): (Identity, Option<(FederationClient, Remote)>),
    ) -> Self {
        let (head, _) = store.db().head().await.expect("the head is read");
        let bus = Bus::new(head, chance.number());
        let shutdown = Shutdown::new();
        let (stop_sync, stopping) = watch::channel(false);
        let cost = PasswordCost::new(config.passwords.memory_kib, config.passwords.iterations);
        let accounts = Accounts::new(Setup {
            session_secret: [9; 32],
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
            cpu,
            server_name: identity.server_name.clone(),
            password_cost: cost.expect("argon2 allows this cost"),
            access_token_lifetime: config.sessions.access_token_lifetime(),
        });
        let (client, remote) = outside.unzip();
        let rooms = Rooms::new(starling_rooms::Parts {
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
            server_name: identity.server_name.clone(),
            signing_key: identity.signing_key,
            default_version: RoomVersion::parse(&config.rooms.default_version)
                .expect("a known room version"),
            forget_on_leave: config.rooms.forget_on_leave,
            remote,
        });
        let ephemeral = Ephemeral::new(starling_ephemeral::Parts {
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            has_presence: config.presence.enabled,
        });
        let keys = Keys::new(KeysParts {
            store: store.clone(),
            bus: bus.clone(),
            server_name: identity.server_name.clone(),
            clock: clock.clone(),
            remote: client,
        });
        let to_device = ToDevice::new(ToDeviceParts {
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
            server_name: identity.server_name.clone(),
        });
        let jobs = Jobs::new(store.clone(), rooms.clone(), clock.clone());
        let limiter = RateLimiter::new(&config.rate_limits, clock.clone());
        let state = State::new(Parts {
            config: Arc::new(config),
            store: store.clone(),
            accounts,
            rooms,
            ephemeral,
            keys,
            to_device,
            key_backups: KeyBackups::new(store.clone()),
            sync: Sync::new(store.clone(), bus.clone(), clock.clone(), stopping),
            search: Search::new(store, identity.server_name),
            clock: clock.clone(),
            chance: chance.clone(),
            limiter,
            shutdown,
        });
        Self {
            app: app(&state, (clock, chance)),
            jobs,
            state,
            bus,
            stop_sync,
        }
    }

    /// Calls `path` (from the first slash on) with this access token and body.
    ///
    /// # Panics
    /// When the request is malformed, or the answer is no JSON.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> TestAnswer {
        let bytes = body
            .map(|body| body.to_string().into_bytes())
            .unwrap_or_default();
        self.raw(method, path, token, bytes).await
    }

    /// As [`TestServer::request`], with a body that may be anything.
    ///
    /// # Panics
    /// As [`TestServer::request`].
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> TestAnswer {
        let (status, bytes) = self.answer(method, path, token, body).await;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).expect("JSON")
        };
        TestAnswer { status, body }
    }

    /// As [`TestServer::raw`], with an answer that may be anything.
    ///
    /// # Panics
    /// When the request is malformed.
    pub async fn answer(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> (StatusCode, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body)).expect("a request");
        let response = self
            .app
            .clone()
            .oneshot(request)
            .await
            .expect("a router never fails");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a whole body");
        (status, body.to_bytes())
    }

    /// Registers a user; the answer holds `user_id`, `access_token` and `device_id`. The password is the name.
    ///
    /// # Panics
    /// When the user cannot be registered.
    pub async fn register(&self, name: &str) -> Value {
        let body =
            json!({ "username": name, "password": name, "auth": { "type": "m.login.dummy" } });
        let answer = self
            .request(
                Method::POST,
                "/_matrix/client/v3/register",
                None,
                Some(body),
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    /// Tells long polls that the server stops, as the program does at its end.
    pub fn stop(&self) {
        self.state.shutdown.begin();
        self.stop_sync.send_replace(true);
    }
}

fn app(state: &State, (clock, chance): (Clock, Chance)) -> Router {
    let edge = Edge {
        clock,
        chance,
        health: Arc::new(|| Box::pin(async { Ok(()) })),
        limiter: state.limiter.clone(),
        metrics: None,
    };
    let routes = starling_client_api::routes().merge(starling_client_api::federation_routes());
    let routes = routes.into_router(state.clone());
    edge.app(&Listener::default(), routes)
}

/// A store over a database.
pub(crate) async fn store_over(db: Db) -> Store {
    let (_, epoch) = db.head().await.expect("the head is read");
    Store::new(db, epoch, CacheSizes::new(16 << 20))
}

/// Two servers on one database must not make the same tokens.
fn chance() -> Chance {
    Chance::system().expect("the system has random bytes")
}
