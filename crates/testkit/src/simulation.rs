//! Several servers in one process, whose clients talk while the network and the machines fail: by seed.
//!
//! Each server is whole: its store on a simulated disk, its rooms, what it sends, and the router of its server-server API,
//! which others call over a simulated network (`network.rs`): late, twice, out of order or not at all. Servers crash and
//! start again on what their disk has kept (`host.rs`). Clients (`client.rs`) do by chance what people do. Then all faults
//! end, time passes until all is quiet, somebody says something in each room, so that branches meet, and it is checked
//! what must hold (`checks.rs`). All runs on one thread with tokio's paused clock: a seed is always the same run.
//! `docs/dev/simulation.md` says how to work with it.

mod checks;
mod client;
mod encryption;
mod evidence;
mod host;
mod hostile;
mod model;
mod network;
mod trace;
mod visibility;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ruma_common::OwnedEventId;
use starling_runtime::{Chance, Clock};

use checks::{Findings, check_room, inbox_rows_of, waiting};
use client::{Client, Shared};
pub use encryption::{Counts, EncryptionPlan, EncryptionReport, run_encryption};
use evidence::Evidence;
use host::{Host, chance_of, name_of};
use hostile::{Attacker, Liar};
use model::{KnownRoom, Model};
pub use network::Carried;
use network::{Faults, Network};

/// When the clocks start, in milliseconds since 1970.
const START_MS: i64 = 1_700_000_000_000;

/// For so long no honest server has asked another when all is quiet, in milliseconds: longer than any pause before one is
/// asked again.
const QUIET_MS: i64 = 70_000;

/// The users of each honest server.
const USERS: [&str; 2] = ["ann", "bob"];

/// For each event that a client sends, honest servers make so many requests to each other, at most, and so many bytes go to
/// and fro; as if there were a few more events.
const MOST_REQUESTS: u64 = 12;
const MOST_BYTES: u64 = 40_000;
const SOME_EVENTS: u64 = 30;

/// In the end so many events wait in an inbox, at most: those of the hostile server, which gives nobody what they follow.
const MOST_WAITING: usize = 100;

/// All must be quiet so long after the network has healed.
const UNTIL_QUIET: Duration = Duration::from_mins(30);

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many servers.
    pub servers: u64,
    /// How many things each client does.
    pub actions: u64,
    /// Whether messages get lost, come twice, and servers are parted.
    pub has_faults: bool,
    /// Whether servers crash.
    pub has_crashes: bool,
    /// Whether there is another server, which is hostile.
    pub has_hostile: bool,
}

/// What came of a seed, whatever is simulated.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What doesn't hold; nothing, if all is well.
    pub failures: Vec<String>,
    /// The rooms in which something doesn't hold, event by event.
    pub failed_rooms: Vec<String>,
    /// Every message between servers and every answer to a client, in order.
    pub trace: Vec<String>,
    /// How long all took, in simulated milliseconds.
    pub took_ms: i64,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Whether all holds.
    pub outcome: Outcome,
    /// What the network has carried.
    pub carried: Carried,
    /// Rooms.
    pub rooms: usize,
    /// Events that clients were told are sent.
    pub acknowledged: usize,
    /// Events that must have come to another server, and have.
    pub deliveries: u64,
    /// Those of them that were not shown there, since the room had moved on.
    pub soft_failed: u64,
    /// Those of them that are there, and in no timeline.
    pub unplaced: u64,
    /// Events that came to a server while it joined, and that it doesn't have.
    pub missed_joining: u64,
    /// Pairs of servers whose state was compared.
    pub states: u64,
    /// Events that were read, each by each user.
    pub read: usize,
    /// Those of them that only a membership by another event than those before it lets the user read.
    pub read_over_forks: u64,
    /// Crashes.
    pub crashes: u64,
    /// How often servers were parted.
    pub partitions: u64,
    /// Requests of clients that were refused.
    pub refused: u64,
    /// Requests of clients during which their server went down.
    pub broken: u64,
    /// What the hostile server did.
    pub attacks: u64,
    /// Answers of the hostile server that were changed.
    pub lies: u64,
    /// How long it took until all was quiet, in simulated milliseconds.
    pub quiet_after_ms: i64,
}

/// Runs these seeds on as many threads as there are cores, each seed in a runtime of its own. The reports are in the order of
/// the seeds.
///
/// # Panics
/// When a server panics.
#[must_use]
pub fn run_all<R: Send>(seeds: Range<u64>, run: impl Fn(u64) -> R + Sync) -> Vec<R> {
    let (next, reports) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        break;
                    }
                    let report = run(seed);
                    reports.lock().insert(seed, report);
                }
            });
        }
    });
    reports.into_inner().into_values().collect()
}

/// Runs one seed.
///
/// # Panics
/// When a server panics.
#[must_use]
pub fn run(seed: u64, plan: Plan) -> Report {
    in_simulated_time(async {
        let world = World::start(seed, plan).await;
        world.live().await;
        world.end().await
    })
}

/// Runs something on one thread with a clock that stands still while there is anything to do.
fn in_simulated_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}

/// All that there is.
struct World {
    seed: u64,
    plan: Plan,
    clock: Clock,
    chance: Chance,
    network: Arc<Network>,
    /// The honest ones first.
    hosts: Vec<Arc<Host>>,
    /// How many are honest.
    honest: usize,
    liar: Arc<Liar>,
    clients: Vec<Arc<Client>>,
    model: Arc<Mutex<Model>>,
}

impl World {
    async fn start(seed: u64, plan: Plan) -> Self {
        let clock = Clock::simulated(START_MS);
        let hostile = name_of(plan.servers);
        let network_chance = chance_of(seed, 1_000, 0);
        let network = Network::new(network_chance, clock.clone(), [hostile.clone()].into());
        let liar = Arc::new(Liar::new(chance_of(seed, 1_000, 1)));
        let mut hosts = Vec::new();
        for number in 0..plan.servers + u64::from(plan.has_hostile) {
            let (network, clock) = (Arc::clone(&network), clock.clone());
            let liar = (number == plan.servers).then(|| Arc::clone(&liar));
            let host = Host::new((seed, number), network, clock, liar).await;
            host.start().await;
            hosts.push(host);
        }
        // A state of which some events can't be checked, since nobody gives the keys, has holes; that is another story.
        let all = hosts.iter().map(|host| host.identity.server_name.clone());
        let all: BTreeSet<_> = all.collect();
        for host in &hosts {
            host.learn_keys(&all).await;
        }
        let honest = usize::try_from(plan.servers).unwrap_or(0);
        let names = |number: usize| {
            if number < honest {
                &USERS[..]
            } else {
                &["eve"][..]
            }
        };
        let everybody = hosts.iter().enumerate().flat_map(|(number, host)| {
            let name = |user: &&str| format!("@{user}:{}", host.name());
            names(number).iter().map(name)
        });
        let shared = Shared {
            model: Arc::default(),
            clock: clock.clone(),
            everybody: everybody.collect(),
        };
        shared.model.lock().hostile = plan.has_hostile.then(|| hostile.to_string());
        let mut clients = Vec::new();
        for (number, host) in hosts.iter().enumerate() {
            for name in names(number) {
                let of = u64::try_from(clients.len()).unwrap_or(0);
                let chance = chance_of(seed, 2_000, of);
                let who = (number, *name);
                let client = Client::register(host, who, chance, shared.clone()).await;
                clients.push(Arc::new(client));
            }
        }
        Self {
            seed,
            plan,
            clock,
            chance: chance_of(seed, 3_000, 0),
            network,
            hosts,
            honest,
            liar,
            clients,
            model: shared.model,
        }
    }

    fn honest(&self) -> &[Arc<Host>] {
        self.hosts.get(..self.honest).unwrap_or(&self.hosts)
    }

    /// Clients of honest servers.
    fn honest_clients(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients
            .iter()
            .filter(|client| client.number < self.honest)
    }

    /// What the hostile server does beside what a server does.
    fn attacker(&self) -> Option<Attacker> {
        Some(Attacker {
            host: Arc::clone(self.hosts.get(self.honest)?),
            network: Arc::clone(&self.network),
            victims: self
                .honest()
                .iter()
                .map(|host| host.identity.server_name.clone())
                .collect(),
            liar: Arc::clone(&self.liar),
            model: Arc::clone(&self.model),
            chance: chance_of(self.seed, 4_000, 0),
        })
    }

    fn room(&self, number: usize) -> Option<KnownRoom> {
        self.model.lock().rooms.get(number).cloned()
    }

    /// Two rooms, the first with somebody of each server; then everybody does what they like, while things fail.
    async fn live(&self) {
        for client in self.clients.iter().take(2) {
            client.create_room().await.expect("the host is up");
        }
        for client in self.honest_clients().skip(1).step_by(2) {
            if let Some(room) = self.room(0) {
                client.join(&room).await.expect("the host is up");
            }
        }
        if self.plan.has_faults {
            self.network.set_faults(Faults {
                requests_lost: 30,
                answers_lost: 30,
                twice: 40,
                slow: 40,
            });
        }
        let living: Vec<_> = self
            .clients
            .iter()
            .map(|client| {
                let (client, actions) = (Arc::clone(client), self.plan.actions);
                tokio::spawn(async move { client.live(actions).await })
            })
            .collect();
        self.liar.lie(true);
        if let Some(attacker) = self.attacker() {
            tokio::spawn(attacker.attack());
        }
        self.fail(&living).await;
        self.liar.lie(false);
        for client in living {
            client.await.expect("a client never fails");
        }
    }

    /// Lets things fail as long as clients do something; then all is well again.
    async fn fail(&self, living: &[tokio::task::JoinHandle<()>]) {
        while living.iter().any(|client| !client.is_finished()) {
            let pause = Duration::from_millis(self.chance.within(1_000..8_000));
            tokio::time::sleep(pause).await;
            match self.chance.within(0..4) {
                0 if self.plan.has_faults => {
                    let side = || self.chance.within(0..2);
                    let group = |host: &Arc<Host>| (host.identity.server_name.clone(), side());
                    self.network.part(self.hosts.iter().map(group).collect());
                    self.network.trace.note("parted");
                    self.model.lock().partitions += 1;
                }
                1 => self.network.part(BTreeMap::new()),
                2 if self.plan.has_crashes => self.crash_one().await,
                _ => {
                    for host in self.hosts.iter().filter(|host| !host.is_up()) {
                        self.network.trace.note(&format!("{} starts", host.name()));
                        host.start().await;
                    }
                }
            }
        }
        self.network.set_faults(Faults::default());
        self.network.part(BTreeMap::new());
        for host in self.hosts.iter().filter(|host| !host.is_up()) {
            host.start().await;
        }
        self.network.trace.note("healed");
    }

    async fn crash_one(&self) {
        let count = u64::try_from(self.hosts.len()).unwrap_or(1);
        let number = usize::try_from(self.chance.within(0..count)).unwrap_or(0);
        if let Some(host) = self.hosts.get(number).filter(|host| host.is_up()) {
            self.network.trace.note(&format!("{} crashes", host.name()));
            host.crash().await;
            self.model.lock().crashes += 1;
        }
    }

    /// Waits until no honest server has anything to tell another. How long that took; nothing, if it doesn't end.
    async fn quiet(&self) -> Option<i64> {
        let begun = self.clock.now_ms();
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let mut is_quiet = self.network.quiet_ms() >= QUIET_MS;
            for host in self.honest() {
                is_quiet = is_quiet && waiting(host, self.honest()).await.is_empty();
            }
            let took = self.clock.now_ms() - begun;
            if is_quiet {
                return Some(took);
            }
            if took > i64::try_from(UNTIL_QUIET.as_millis()).unwrap_or(i64::MAX) {
                return None;
            }
        }
    }

    /// In each room somebody of each server says something, one after the other.
    async fn say_last(&self) {
        let rooms = self.model.lock().rooms.clone();
        for room in rooms {
            for number in 0..self.honest {
                for client in self.clients.iter().filter(|it| it.number == number) {
                    let is_joined = client.is_joined(&room.id).await;
                    if is_joined && client.say(&room.id, true).await == Ok(None) {
                        continue;
                    }
                    if is_joined {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        break;
                    }
                }
            }
        }
    }

    async fn end(self) -> Report {
        let mut failures = std::mem::take(&mut self.model.lock().failures);
        let mut quiet_after_ms = 0;
        for _ in 0..2 {
            match self.quiet().await {
                Some(took) => quiet_after_ms += took,
                None => {
                    for host in self.honest() {
                        let waiting = waiting(host, self.honest()).await;
                        let since = self.network.quiet_ms();
                        let name = host.name();
                        failures.push(format!(
                            "it is not quiet: {name}: {waiting:?} wait, {since} ms since the last request"
                        ));
                    }
                }
            }
            self.say_last().await;
        }
        self.quiet().await;
        for client in self.honest_clients() {
            let rooms = self.model.lock().rooms.clone();
            for room in &rooms {
                client.page_back(&room.id).await.expect("the host is up");
            }
            client.sync().await.expect("the host is up");
        }
        failures.append(&mut self.model.lock().failures);
        failures.extend(self.work_was_bounded().await);
        let findings = self.check().await;
        failures.extend(findings.failures);
        let model = self.model.lock();
        Report {
            outcome: Outcome {
                seed: self.seed,
                failures,
                failed_rooms: findings.failed_rooms,
                trace: self.network.trace.take(),
                took_ms: self.clock.now_ms() - START_MS,
            },
            carried: self.network.carried(),
            rooms: model.rooms.len(),
            acknowledged: model.acknowledged.len(),
            deliveries: findings.deliveries,
            soft_failed: findings.soft_failed,
            unplaced: findings.unplaced,
            missed_joining: findings.missed_joining,
            states: findings.states,
            read: findings.read,
            read_over_forks: findings.read_over_forks,
            crashes: model.crashes,
            partitions: model.partitions,
            refused: model.refused,
            broken: model.broken,
            attacks: model.attacks,
            lies: self.liar.lies(),
            quiet_after_ms,
        }
    }

    /// What was more work than it should be.
    async fn work_was_bounded(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let events = u64::try_from(self.model.lock().acknowledged.len()).unwrap_or(0);
        let carried = self.network.carried();
        if carried.honest_requests > MOST_REQUESTS * (events + SOME_EVENTS)
            || carried.honest_bytes > MOST_BYTES * (events + SOME_EVENTS)
        {
            failures.push(format!("{events} events took {carried:?}"));
        }
        for host in self.honest() {
            let rows = inbox_rows_of(host).await;
            if rows > MOST_WAITING {
                failures.push(format!(
                    "{rows} events wait in the inbox of {}",
                    host.name()
                ));
            }
        }
        failures
    }

    async fn check(&self) -> Findings {
        let mut findings = Findings::default();
        let rooms = self.model.lock().rooms.clone();
        for room in rooms {
            let known: BTreeSet<OwnedEventId> = {
                let model = self.model.lock();
                let sent = model
                    .acknowledged
                    .iter()
                    .filter(|event| event.room_id == room.id);
                let sent = sent.map(|event| event.event_id.clone());
                let read = model.read.iter().filter(|((_, id, _), _)| *id == room.id);
                let read = read.flat_map(|(_, events)| events.iter().cloned());
                sent.chain(read).collect()
            };
            let evidence = Evidence::of(&self.hosts, &room.id, &known).await;
            let hosts = (self.hosts.as_slice(), self.honest);
            let before = findings.failures.len();
            check_room(
                &room.id,
                &evidence,
                hosts,
                &self.model.lock(),
                &mut findings,
            );
            if findings.failures.len() > before {
                findings.failed_rooms.push(room.id.to_string());
                findings
                    .failed_rooms
                    .extend(evidence.table(&self.hosts).await);
            }
        }
        findings
    }
}
