//! A server of the simulation: it crashes and starts again, on what its disk has kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use parking_lot::Mutex;
use ruma_common::{OwnedServerName, OwnedUserId};
use serde_json::Value;
use starling_config::{Config, Listener};
use starling_db::{Db, Simulation};
use starling_delivery::{Jobs, Sender, SenderParts};
use starling_events::SigningKey;
use starling_http::Edge;
use starling_outbound::{Backoff, FederationClient, Health, Identity, KeyRing};
use starling_rooms::Remote;
use starling_runtime::{Chance, Clock, Cpu};
use starling_store::restored::restored;
use starling_store::{SCHEMA, Store};
use tokio::task::AbortHandle;

use super::hostile::Liar;
use super::network::{Line, Network};
use crate::database::TestDb;
use crate::server::{TestServer, store_over};

/// How long a server leaves another alone that failed, in milliseconds: at first, and at most.
const BACKOFF: Backoff = Backoff {
    initial_ms: 1_000,
    max_ms: 30_000,
};

/// A machine with a disk, on which a server runs or doesn't.
pub(super) struct Host {
    pub(super) identity: Identity,
    number: u64,
    seed: u64,
    network: Arc<Network>,
    clock: Clock,
    liar: Option<Arc<Liar>>,
    disk: tokio::sync::Mutex<Disk>,
    running: Mutex<Option<Running>>,
}

struct Disk {
    db: TestDb,
    starts: u64,
}

/// A server that is up.
struct Running {
    server: Arc<TestServer>,
    keys: KeyRing,
    is_up: Arc<AtomicBool>,
    tasks: Vec<AbortHandle>,
}

/// A request that was never answered: the server went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Host {
    /// A machine with an empty disk.
    pub(super) async fn new(
        (seed, number): (u64, u64),
        network: Arc<Network>,
        clock: Clock,
        liar: Option<Arc<Liar>>,
    ) -> Arc<Self> {
        let mut key = [0; 32];
        chance_of(seed, number, 0).fill(&mut key);
        let identity = Identity {
            server_name: name_of(number),
            signing_key: Arc::new(SigningKey::generate(key, "k").expect("a key")),
        };
        let disk = Simulation {
            delay_ms: 0..6,
            ..Simulation::calm(chance_of(seed, number, 1))
        };
        let disk = Disk {
            db: TestDb::simulated(&SCHEMA, disk).await,
            starts: 0,
        };
        Arc::new(Self {
            identity,
            number,
            seed,
            network,
            clock,
            liar,
            disk: tokio::sync::Mutex::new(disk),
            running: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        self.identity.server_name.as_str()
    }

    /// The server starts.
    pub(super) async fn start(&self) {
        let mut disk = self.disk.lock().await;
        disk.starts += 1;
        let chance = chance_of(self.seed, self.number, 1 + disk.starts);
        let db = disk.db.db().clone();
        drop(disk);
        let running = self.build(db, chance).await;
        *self.running.lock() = Some(running);
    }

    async fn build(&self, db: Db, chance: Chance) -> Running {
        let (identity, clock) = (self.identity.clone(), self.clock.clone());
        let store = store_over(db).await;
        let is_up = Arc::new(AtomicBool::new(true));
        let line = Line {
            network: Arc::clone(&self.network),
            from: identity.server_name.clone(),
            is_up: Arc::clone(&is_up),
        };
        let health = Health::new(BACKOFF, clock.clone(), chance.clone());
        let client = FederationClient::new(identity.clone(), Arc::new(line), health);
        let keys = KeyRing::new(store.clone(), client.clone(), clock.clone(), Vec::new());
        let own_keys = keys.clone();
        let remote = Remote::new(client.clone(), keys.clone(), Cpu::in_place());
        let means = (Cpu::in_place(), chance.clone(), clock.clone());
        let outside = (identity, Some((client.clone(), remote)));
        let server = TestServer::build(store, config(), means, outside).await;
        let state = &server.state;
        let sender = Sender::new(SenderParts {
            store: state.store.clone(),
            bus: server.bus.clone(),
            client: client.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
        });
        let jobs = Jobs::new(state.store.clone(), state.rooms.clone(), clock.clone());
        let (lists, rooms) = (state.keys.clone(), state.rooms.clone());
        let federation = starling_federation_api::State::new(starling_federation_api::Parts {
            config: Arc::clone(&state.config),
            accounts: state.accounts.clone(),
            rooms: state.rooms.clone(),
            ephemeral: state.ephemeral.clone(),
            device_keys: state.keys.clone(),
            to_device: state.to_device.clone(),
            client,
            keys,
            old_keys: Vec::new(),
            clock: clock.clone(),
            limiter: state.limiter.clone(),
        });
        let edge = Edge {
            clock,
            chance,
            health: Arc::new(|| Box::pin(async { Ok(()) })),
            limiter: state.limiter.clone(),
            metrics: None,
        };
        let routes = starling_federation_api::routes().into_router(federation);
        let resumed = state.rooms.resume_inbox().await;
        resumed.expect("the inbox is read");
        let tasks = [
            tokio::spawn(sender.run(std::future::pending())).abort_handle(),
            tokio::spawn(jobs.run(std::future::pending())).abort_handle(),
            tokio::spawn(lists.run_resync(std::future::pending())).abort_handle(),
            tokio::spawn(rooms.run_catch_up(std::future::pending())).abort_handle(),
        ];
        let app = edge.app(&Listener::default(), routes);
        self.network
            .plug(&self.identity.server_name, app, self.liar.clone());
        Running {
            server: Arc::new(server),
            keys: own_keys,
            is_up,
            tasks: tasks.into(),
        }
    }

    /// Asks these servers for their keys.
    pub(super) async fn learn_keys(&self, servers: &BTreeSet<OwnedServerName>) {
        let keys = {
            let running = self.running.lock();
            running.as_ref().map(|running| running.keys.clone())
        };
        if let Some(keys) = keys {
            keys.refresh(servers).await;
        }
    }

    /// The power fails: what wasn't on the disk is lost, and what was under way never ends.
    pub(super) async fn crash(&self) {
        let Some(running) = self.running.lock().take() else {
            return;
        };
        running.is_up.store(false, Ordering::Relaxed);
        self.network.unplug(&self.identity.server_name);
        for task in &running.tasks {
            task.abort();
        }
        let mut disk = self.disk.lock().await;
        let old = disk.db.db().clone();
        disk.db.power_cut().await;
        drop(disk);
        // What is left of the server finds no database any more, and ends.
        tokio::spawn(async move { old.close().await });
    }

    /// Keeps a copy of the database as it is on the disk now.
    pub(super) async fn copy(&self) {
        self.disk.lock().await.db.copy();
    }

    /// The server stops, the copy is put back, what must be done then is done, and the server starts.
    pub(super) async fn put_back(&self) {
        self.crash().await;
        let mut disk = self.disk.lock().await;
        disk.db.put_back().await;
        let done = restored(disk.db.db(), self.clock.now_ms(), (0, 0)).await;
        done.expect("the copy is made fit");
        drop(disk);
        self.start().await;
    }

    pub(super) fn is_up(&self) -> bool {
        self.running.lock().is_some()
    }

    /// The store of the server that runs now.
    pub(super) fn store(&self) -> Option<Store> {
        let running = self.running.lock();
        Some(running.as_ref()?.server.state.store.clone())
    }

    /// Something happened on a device of a user of this server.
    pub(super) fn note(&self, what: &str) {
        self.network.trace.note(what);
    }

    /// The keys of a user's devices, as this server, which is theirs, has them.
    pub(super) async fn device_keys(&self, user: &str) -> Value {
        let keys = {
            let running = self.running.lock();
            let running = running.as_ref().expect("the host is up");
            running.server.state.keys.clone()
        };
        let user = OwnedUserId::try_from(user).expect("a user id");
        let snapshot = keys.device_snapshot(user.clone()).await;
        let snapshot = snapshot.expect("the devices are read");
        let devices = snapshot.keys.device_keys.get(&user);
        devices
            .map(|devices| serde_json::json!(devices))
            .unwrap_or_default()
    }

    /// What the server answers to a client; an error when it goes down first, or is down.
    pub(super) async fn ask(
        &self,
        (method, path): (Method, &str),
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Broken> {
        let (server, asked) = {
            let running = self.running.lock();
            let server = Arc::clone(&running.as_ref().ok_or(Broken)?.server);
            (server, format!("{} {method} {path}", self.name()))
        };
        let (path, token) = (path.to_owned(), token.map(str::to_owned));
        let asking =
            tokio::spawn(
                async move { server.request(method, &path, token.as_deref(), body).await },
            );
        if let Some(running) = self.running.lock().as_mut() {
            running.tasks.retain(|task| !task.is_finished());
            running.tasks.push(asking.abort_handle());
        }
        let answer = asking.await.map_err(|error| {
            assert!(error.is_cancelled(), "a handler panicked: {asked}");
            Broken
        })?;
        let trace = &self.network.trace;
        let body = trace.digest(answer.body.to_string().as_bytes());
        trace.note(&format!("{asked}: {} {body}", answer.status));
        Ok((answer.status, answer.body))
    }
}

/// The name of the server on a host.
pub(super) fn name_of(number: u64) -> OwnedServerName {
    let name = format!("server{number}.example");
    OwnedServerName::try_from(name).expect("a server name")
}

/// As the program's, but that passwords cost little and nobody is limited.
fn config() -> Config {
    let mut config = TestServer::config();
    config.presence.enabled = false;
    config
}

/// The chance of one use of a host.
pub(super) fn chance_of(seed: u64, host: u64, of: u64) -> Chance {
    Chance::seeded(seed.wrapping_mul(1_000_003).wrapping_add(host * 1_009 + of))
}
