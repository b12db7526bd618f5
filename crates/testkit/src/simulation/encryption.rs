//! Several servers whose users encrypt what they say: by seed.
//!
//! Each device does what a client's cryptography does (`machine.rs`), with the same library as many clients; it asks its server
//! as clients do (`device.rs`), is killed, goes offline and comes back. Its user joins rooms, leaves, logs in other devices and
//! out (`people.rs`), while the network and the servers fail. In the end it is checked who can read what (`checks.rs`), by what
//! was seen from outside (`ledger.rs`). `docs/dev/simulation.md` has the rules.

mod checks;
mod device;
mod inspection;
mod keys;
mod ledger;
mod machine;
mod people;
mod sending;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ruma_common::{OwnedEventId, OwnedRoomId};
use starling_runtime::{Chance, Clock};

use device::{Device, Stop};
use keys::{PeerKeys, peer_keys};
pub use ledger::Counts;
use ledger::{Restored, server_of};
use people::{People, one_of};

use super::client::StateEvent;
use super::evidence::Evidence;
use super::host::{Host, chance_of};
use super::network::{Faults, Network};
use super::{Outcome, QUIET_MS, START_MS, UNTIL_QUIET};

/// The users, each with the number of their host.
const USERS: [(&str, usize); 5] = [("ann", 0), ("bob", 1), ("cat", 2), ("dan", 0), ("eva", 1)];

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct EncryptionPlan {
    /// How many users there are, at most 5, on three servers.
    pub users: usize,
    /// How many things each device does.
    pub actions: u64,
    /// Whether messages get lost, come twice, servers are parted and crash.
    pub has_faults: bool,
    /// Whether a copy of a server's database is made, and put back when everybody has done what they do; then they do as much
    /// again.
    pub has_restore: bool,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct EncryptionReport {
    /// Whether all holds. The trace is without what is encrypted.
    pub outcome: Outcome,
    /// What was seen.
    pub counts: Counts,
}

/// Runs one seed.
///
/// # Panics
/// When a server panics.
#[must_use]
pub fn run_encryption(seed: u64, plan: EncryptionPlan) -> EncryptionReport {
    super::in_simulated_time(async {
        let scene = Scene::start(seed, plan).await;
        scene.live().await;
        scene.end().await
    })
}

struct Scene {
    seed: u64,
    plan: EncryptionPlan,
    clock: Clock,
    chance: Chance,
    network: Arc<Network>,
    people: Arc<People>,
}

impl Scene {
    async fn start(seed: u64, plan: EncryptionPlan) -> Self {
        let clock = Clock::simulated(START_MS);
        let network = Network::keeping(chance_of(seed, 1_000, 0), clock.clone());
        let mut hosts = Vec::new();
        for number in 0..3 {
            let host = Host::new((seed, number), Arc::clone(&network), clock.clone(), None).await;
            host.start().await;
            hosts.push(host);
        }
        let names: BTreeSet<_> = hosts
            .iter()
            .map(|host| host.identity.server_name.clone())
            .collect();
        for host in &hosts {
            host.learn_keys(&names).await;
        }
        let users = USERS.iter().take(plan.users).filter_map(|(name, number)| {
            let host = hosts.get(*number)?;
            Some((format!("@{name}:{}", host.name()), *number))
        });
        let users: Vec<(String, usize)> = users.collect();
        let people = People::new(seed, hosts, clock.clone(), users);
        Self {
            seed,
            plan,
            clock,
            chance: chance_of(seed, 3_000, 0),
            network,
            people,
        }
    }

    /// A room with everybody in it; then everybody does what they like, while things fail.
    async fn live(&self) {
        let people = &self.people;
        for (user, host) in &people.users {
            for number in 0..=self.chance.within(0..2) {
                let added = people.add_device(user, *host, number == 0).await;
                added.expect("the host is up");
            }
        }
        let devices = people.living();
        for device in &devices {
            settle(device).await.expect("the host is up");
        }
        let first = devices.first().expect("a device");
        while people.rooms.lock().is_empty() {
            people.create_room(first).await.expect("the host is up");
        }
        let room = people.rooms.lock().first().cloned();
        for device in devices.iter().skip(1) {
            if let Some(room) = &room
                && device.user() != first.user()
            {
                people.join(device, room).await.expect("the host is up");
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
        let restored = one_of(&self.chance, &people.hosts);
        let restored = restored.filter(|_| self.plan.has_restore);
        for device in devices {
            people.let_live(device, self.plan.actions);
        }
        let copied_ms = self.fail(restored).await;
        if let (Some(host), Some(copied_ms)) = (restored, copied_ms) {
            self.put_back(host, copied_ms).await;
            for device in people.living() {
                people.let_live(device, self.plan.actions);
            }
            self.fail(None).await;
        }
        self.network.set_faults(Faults::default());
        self.network.part(BTreeMap::new());
        self.start_all().await;
        self.network.trace.note("healed");
    }

    /// The copy of a server's database that was made at a time is put back.
    async fn put_back(&self, host: &Arc<Host>, copied_ms: i64) {
        let name = host.name();
        self.network
            .trace
            .note(&format!("{name} is put back to what it was at {copied_ms}"));
        host.put_back().await;
        self.people.ledger.lock().put_back(Restored {
            server: name.to_owned(),
            copied_ms,
            at_ms: self.clock.now_ms(),
        });
    }

    /// Lets things fail as long as somebody does something. When a copy was made of the database of `copied`, if it was.
    async fn fail(&self, copied: Option<&Arc<Host>>) -> Option<i64> {
        let hosts = &self.people.hosts;
        let mut copied_ms = None;
        while self
            .people
            .tasks
            .lock()
            .iter()
            .any(|task| !task.is_finished())
        {
            let pause = Duration::from_millis(self.chance.within(1_000..8_000));
            tokio::time::sleep(pause).await;
            if let Some(host) = copied.filter(|_| copied_ms.is_none()) {
                host.copy().await;
                copied_ms = Some(self.clock.now_ms());
            }
            match self.chance.within(0..4) {
                0 if self.plan.has_faults => {
                    let side = || self.chance.within(0..2);
                    let group = |host: &Arc<Host>| (host.identity.server_name.clone(), side());
                    self.network.part(hosts.iter().map(group).collect());
                    self.network.trace.note("parted");
                    self.people.ledger.lock().counts.partitions += 1;
                }
                1 => self.network.part(BTreeMap::new()),
                2 if self.plan.has_faults => {
                    let host = one_of(&self.chance, hosts).filter(|host| host.is_up());
                    if let Some(host) = host {
                        self.network.trace.note(&format!("{} crashes", host.name()));
                        host.crash().await;
                        self.people.ledger.lock().counts.crashes += 1;
                    }
                }
                _ => self.start_all().await,
            }
        }
        let tasks = std::mem::take(&mut *self.people.tasks.lock());
        for task in tasks {
            task.await.expect("a client never fails");
        }
        copied_ms
    }

    async fn start_all(&self) {
        for host in self.people.hosts.iter().filter(|host| !host.is_up()) {
            self.network.trace.note(&format!("{} starts", host.name()));
            host.start().await;
        }
    }

    /// Lets all devices read until nothing new comes and no server has anything to tell another.
    async fn quiet(&self) {
        let begun = self.clock.now_ms();
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let mut is_quiet = self.network.quiet_ms() >= QUIET_MS;
            for device in self.people.living() {
                is_quiet &= !settle(&device).await.unwrap_or(false);
            }
            if is_quiet {
                return;
            }
            if self.clock.now_ms() - begun > i64::try_from(UNTIL_QUIET.as_millis()).unwrap_or(0) {
                self.people.ledger.lock().fail("it is not quiet".to_owned());
                return;
            }
        }
    }

    /// In each room somebody of each user says something, one after the other.
    async fn say_around(&self, is_last: bool) {
        let rooms = self.people.rooms.lock().clone();
        for room in rooms {
            for (user, _) in &self.people.users {
                let living = self.people.living();
                let own: Vec<&Arc<Device>> = living.iter().filter(|it| it.user() == user).collect();
                let Some(device) = one_of(&self.chance, &own) else {
                    continue;
                };
                if device.encrypted_rooms().contains(&room.id) {
                    device.say(&room.id, is_last).await.ok();
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
            }
        }
    }

    async fn end(self) -> EncryptionReport {
        // Servers that have not heard of each other's events hear of them by the first round.
        for is_last in [false, true] {
            self.quiet().await;
            self.say_around(is_last).await;
        }
        self.quiet().await;
        self.people.ledger.lock().read(&self.network.take_kept());
        let truth = self.truth().await;
        for device in self.people.living() {
            if self.check(&device, &truth).await.is_err() {
                self.people
                    .ledger
                    .lock()
                    .fail(format!("{:?} can't be checked", device.name));
            }
        }
        let failed_rooms = self.failed_rooms().await;
        let ledger = &mut *self.people.ledger.lock();
        ledger.check_given();
        EncryptionReport {
            outcome: Outcome {
                seed: self.seed,
                failures: std::mem::take(&mut ledger.failures),
                failed_rooms,
                trace: self.network.trace.take(),
                took_ms: self.clock.now_ms() - START_MS,
            },
            counts: ledger.counts,
        }
    }

    async fn failed_rooms(&self) -> Vec<String> {
        let (rooms, sent) = {
            let ledger = self.people.ledger.lock();
            let sent = ledger.messages.iter();
            let sent = sent.filter_map(|it| Some((it.room_id.clone(), it.event_id.clone()?)));
            (ledger.failed_rooms.clone(), sent.collect::<Vec<_>>())
        };
        let mut lines = Vec::new();
        for room in rooms {
            let known = sent.iter().filter(|(room_id, _)| *room_id == room);
            let known = known.filter_map(|(_, id)| OwnedEventId::try_from(id.clone()).ok());
            let id = OwnedRoomId::try_from(room.clone()).expect("a room id");
            let evidence = Evidence::of(&self.people.hosts, &id, &known.collect()).await;
            lines.push(room);
            lines.extend(evidence.table(&self.people.hosts).await);
        }
        lines
    }

    /// The devices of all users, as their servers have them.
    async fn truth(&self) -> BTreeMap<String, BTreeMap<String, PeerKeys>> {
        let mut truth = BTreeMap::new();
        for (user, number) in &self.people.users {
            let host = self.people.hosts.get(*number).expect("a host");
            let devices = host.device_keys(user).await;
            truth.insert(user.clone(), peer_keys(user, &devices));
        }
        truth
    }

    /// Whether all servers of those who have joined a room, and of those who think so, say the same of who has.
    async fn is_agreed(&self, room_id: &OwnedRoomId, joined: &BTreeSet<String>) -> bool {
        for host in &self.people.hosts {
            let state = host.state(room_id).await.unwrap_or_default();
            let is: BTreeSet<String> = joined_of(state);
            let is_of_it = |user: &String| server_of(user) == host.name();
            let has_any = joined.iter().chain(&is).any(is_of_it);
            if has_any && is != *joined {
                return false;
            }
        }
        true
    }

    async fn check(
        &self,
        device: &Device,
        truth: &BTreeMap<String, BTreeMap<String, PeerKeys>>,
    ) -> Result<(), Stop> {
        let (mut rooms, mut followed) = (BTreeSet::new(), BTreeSet::new());
        for room_id in device.encrypted_rooms() {
            let joined = device.joined_in(&room_id);
            let id = OwnedRoomId::try_from(room_id.clone()).expect("a room id");
            let state = device.host.state(&id).await.unwrap_or_default();
            let is = joined_of(state);
            // A server that was put back may not know of a room any longer, and clients aren't told.
            if !is.contains(device.user()) && self.plan.has_restore {
                device.forget_room(&room_id);
                continue;
            }
            if joined != is {
                let who = &device.name;
                let what = format!("{who:?} thinks that in {room_id} are {joined:?}, not {is:?}");
                self.people.ledger.lock().fail(what);
            }
            device.page_back(&room_id).await?;
            if self.is_agreed(&id, &is).await {
                followed.extend(is);
                rooms.insert(room_id);
            } else {
                self.people.ledger.lock().counts.parted += 1;
            }
        }
        let mut truth = truth.clone();
        truth.retain(|user, _| followed.contains(user));
        device.check_lists(&truth).await?;
        device.check_counts().await?;
        let (unread, decrypted) = device.read();
        let ledger = &mut *self.people.ledger.lock();
        ledger.counts.decrypted += decrypted;
        ledger.judge(&device.name, &unread);
        ledger.check_last(&device.name, &rooms, &device.decrypted());
        Ok(())
    }
}

/// Who has joined a room, by its state.
fn joined_of(state: Vec<StateEvent>) -> BTreeSet<String> {
    let joins = state.into_iter().filter(|it| it.is_join);
    joins.map(|it| it.key).collect()
}

/// A device reads all that there is, and does what follows from it. Whether there was anything new.
async fn settle(device: &Device) -> Result<bool, Stop> {
    let mut was_news = false;
    for _ in 0..20 {
        let is_news = device.sync(0).await?;
        device.tend().await?;
        if !is_news {
            break;
        }
        was_news = true;
    }
    Ok(was_news)
}
