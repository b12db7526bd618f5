//! What goes to other servers: each gets the events of the rooms that it is in, in the order of the log, and is told who has
//! read, types and is there.
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>
//!
//! One task reads the log and keeps the queues (`queues.rs`); each transaction (`transaction.rs`) is a task of its own, at
//! most one per server. A server that doesn't answer costs its place in the log: when it is up again, what it missed is
//! read from the database, and of much the newest events only, since it asks for what is between. Where servers are is
//! stored now and then: what is sent twice does no harm.
//!
//! Server ACLs keep nothing from being sent: they are for who receives. Only one process of a server may send.

mod apart;
mod edus;
mod news;
mod queue;
mod queues;
mod transaction;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ruma_common::{OwnedServerName, ServerName};
use starling_bus::Bus;
use starling_db::{Error, Tx, Write};
use starling_outbound::FederationClient;
use starling_runtime::{Chance, Clock};
use starling_store::Store;
use starling_store::destinations::{Destinations, destinations, destinations_set};
use starling_store::outgoing::outgoing_after;
use starling_store::to_device::outgoing_to_device_servers;
use tokio::task::JoinSet;

use news::TypingTold;
use queues::Queues;
use transaction::{Attempt, Attempted};

/// So many transactions are under way: more than those to servers that lag behind (`queues.rs`), so that others needn't wait
/// for the many that may be down.
const MOST_SENDING: usize = 500;

/// So many events of the log are read at once.
const PAGE: u32 = 500;

/// How often it is stored how far servers are, in milliseconds; and of how many that lag behind at once.
const STORE_MS: i64 = 5_000;
const STORED_AT_ONCE: usize = 200;

/// When the database is tried again, in milliseconds.
const RETRY_MS: i64 = 1_000;

/// After a start the servers that lag behind are tried one after another, so far apart, in milliseconds.
const APART_MS: u64 = 10;

/// A user's presence is told again every 25 minutes: other servers take them for gone after 30. Each minute it is the turn
/// of some.
const PRESENCE_TURNS: i64 = 25;
const MINUTE_MS: i64 = 60_000;

/// What [`Sender`] works with.
#[derive(Debug)]
pub struct SenderParts {
    /// The database, and the log in it.
    pub store: Store,
    /// Who types, and who is there.
    pub bus: Bus,
    /// Asks other servers; knows which are down.
    pub client: FederationClient,
    /// Tells the time.
    pub clock: Clock,
    /// For the ids of transactions, and so that servers aren't tried all at once.
    pub chance: Chance,
}

/// Sends to other servers.
#[derive(Debug)]
pub struct Sender {
    parts: Arc<SenderParts>,
}

impl Sender {
    /// From here on what is to be sent is noted: made before anything happens that others should hear of.
    #[must_use]
    pub fn new(parts: SenderParts) -> Self {
        parts.store.outgoing().open();
        parts.bus.open_outbox();
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Sends until `stop`; first what was left when the server stopped the last time. What is under way then is sent again
    /// the next time.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut work = Work::new(self.parts);
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = work.start() => {}
        }
        work.measure();
        loop {
            work.fill();
            let (parts, wait) = (Arc::clone(&work.parts), work.until_next());
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = parts.store.outgoing().changed() => work.read_log().await,
                Some(attempted) = work.sending.join_next() => work.ended(attempted),
                recovered = parts.client.health().recovered() => {
                    for server in &recovered {
                        work.queues.wake(server);
                    }
                }
                () = parts.bus.has_news() => work.read_news().await,
                () = tokio::time::sleep(wait) => work.pass().await,
            }
        }
        // What ended while something else was done counts too.
        while let Some(attempted) = work.sending.try_join_next() {
            work.ended(attempted);
        }
        // Nothing of it may outlive the database.
        work.sending.shutdown().await;
        work.store_progress().await;
    }
}

/// What the task keeps.
#[derive(Debug)]
struct Work {
    parts: Arc<SenderParts>,
    queues: Queues,
    sending: JoinSet<Attempted>,
    typing: TypingTold,
    /// What is stored of where servers are.
    stored: Destinations,
    /// Begins the ids of this process's transactions.
    boot: String,
    /// The number of the next one.
    next_txn: u64,
    /// When something must be done, in milliseconds since 1970.
    read_at_ms: Option<i64>,
    store_at_ms: Option<i64>,
    presence_at_ms: i64,
}

impl Work {
    fn new(parts: Arc<SenderParts>) -> Self {
        Self {
            queues: Queues::default(),
            sending: JoinSet::new(),
            typing: TypingTold::default(),
            stored: Destinations::default(),
            boot: format!("{:016x}", parts.chance.number()),
            next_txn: 0,
            read_at_ms: None,
            store_at_ms: None,
            presence_at_ms: next_minute(parts.clock.now_ms()),
            parts,
        }
    }

    /// Reads where all are, and from there on. Returns once that is done.
    async fn start(&mut self) {
        let read =
            |tx: &mut Tx<'_>| Ok::<_, Error>((destinations(tx)?, outgoing_to_device_servers(tx)?));
        let to_device = loop {
            match self.parts.store.db().read("destinations", read).await {
                Ok((stored, to_device)) => {
                    self.stored = stored;
                    break to_device;
                }
                Err(error) => self.put_off(&error),
            }
            tokio::time::sleep(self.until_next()).await;
        };
        let count = self.stored.behind.len().max(to_device.len());
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let spread_ms = count.saturating_mul(APART_MS);
        let (clock, chance) = (&self.parts.clock, &self.parts.chance);
        let mut turn_ms = || {
            let later_ms = chance.within(0..spread_ms);
            clock.now_ms().saturating_add_unsigned(later_ms)
        };
        let behind = (self.stored.upto, self.stored.behind.clone());
        self.queues.start(behind, &mut turn_ms);
        self.queues.start_to_device(to_device, turn_ms);
        self.read_log().await;
    }

    /// Gives as many servers their turn as may have one.
    fn fill(&mut self) {
        let now_ms = self.parts.clock.now_ms();
        while self.sending.len() < MOST_SENDING
            && let Some(next) = self.queues.next(now_ms)
        {
            self.next_txn += 1;
            let attempt = Attempt {
                next,
                txn_id: format!("{}-{}", self.boot, self.next_txn),
            };
            self.sending.spawn(attempt.make(Arc::clone(&self.parts)));
        }
    }

    fn ended(&mut self, attempted: Result<Attempted, tokio::task::JoinError>) {
        match attempted {
            Ok(attempted) => {
                let retry_at_ms = self.parts.client.health().retry_at(&attempted.server);
                let now_ms = self.parts.clock.now_ms();
                self.queues.ended(attempted, now_ms, retry_at_ms);
                self.note_progress();
            }
            Err(error) => tracing::error!(%error, "a server is sent nothing until the next start"),
        }
    }

    /// Gives what is new in the log to the servers that it goes to.
    async fn read_log(&mut self) {
        self.read_at_ms = None;
        for server in self.parts.store.outgoing().take_to_device() {
            self.queues.has_to_device(server);
        }
        loop {
            let after = self.queues.upto();
            let read = move |tx: &mut Tx<'_>| outgoing_after(tx, after, PAGE);
            match self.parts.store.db().read("outgoing", read).await {
                Ok(page) => {
                    let has_more = page.has_more;
                    self.queues.add(page);
                    self.fill();
                    if !has_more {
                        break;
                    }
                }
                Err(error) => return self.put_off(&error),
            }
        }
        if self.queues.upto() > self.stored.upto {
            self.note_progress();
        }
        self.read_receipts().await;
        self.tell_who_is_there();
    }

    /// How long nothing is to be done, unless something happens.
    fn until_next(&self) -> Duration {
        let next = [
            self.queues.next_retry_ms(),
            self.read_at_ms,
            self.store_at_ms,
        ];
        let next = next.into_iter().flatten().min();
        let next = next.map_or(self.presence_at_ms, |next| next.min(self.presence_at_ms));
        let wait_ms = next.saturating_sub(self.parts.clock.now_ms());
        Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
    }

    /// Does what is due.
    async fn pass(&mut self) {
        let now_ms = self.parts.clock.now_ms();
        let is_due = |at_ms: Option<i64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        self.queues.pass(now_ms);
        if is_due(self.read_at_ms) {
            self.read_log().await;
        }
        if is_due(self.store_at_ms) {
            self.store_progress().await;
        }
        if self.presence_at_ms <= now_ms {
            self.presence_at_ms = next_minute(now_ms);
            let turn = (now_ms / MINUTE_MS).rem_euclid(PRESENCE_TURNS);
            self.parts.bus.tell_presence_again(turn, PRESENCE_TURNS);
        }
    }

    fn put_off(&mut self, error: &Error) {
        tracing::warn!(%error, "what goes to other servers waits for the database");
        self.read_at_ms = Some(self.parts.clock.now_ms() + RETRY_MS);
    }

    fn note_progress(&mut self) {
        let at_ms = self.parts.clock.now_ms() + STORE_MS;
        self.store_at_ms.get_or_insert(at_ms);
    }

    /// Stores how far servers are, where that has changed.
    async fn store_progress(&mut self) {
        self.store_at_ms = None;
        self.measure();
        let (changed, caught_up) = self.progress();
        if changed
            == (Destinations {
                upto: self.stored.upto,
                ..Destinations::default()
            })
            && caught_up.is_empty()
        {
            return;
        }
        if changed.behind.len() >= STORED_AT_ONCE {
            self.note_progress();
        }
        let (writing, gone) = (changed.clone(), caught_up.clone());
        let set = move |tx: &mut Tx<'_>| destinations_set(tx, &writing, &gone);
        let write = Write::new("destinations").relaxed();
        if let Err(error) = self.parts.store.db().write(write, set).await {
            tracing::warn!(%error, "how far other servers are is not stored");
            return self.note_progress();
        }
        self.stored.upto = changed.upto;
        self.stored.behind.extend(changed.behind);
        for server in &caught_up {
            self.stored.behind.remove(server);
        }
    }

    /// Tells the metrics how many servers have something to get: whenever that is stored, a moment after it has changed.
    fn measure(&self) {
        let (pending, behind, paused) = self.queues.counts();
        let measure = |name: &'static str, count| {
            metrics::gauge!(name).set(u32::try_from(count).unwrap_or(u32::MAX));
        };
        measure("starling_federation_servers_pending", pending);
        measure("starling_federation_servers_behind", behind);
        measure("starling_federation_servers_paused", paused);
    }

    /// What has changed since it was stored: where servers are, and who has caught up. What doesn't fit is left for the
    /// next time; until then the common place is not beyond it.
    fn progress(&self) -> (Destinations, Vec<OwnedServerName>) {
        let behind = self.queues.behind();
        let mut upto = self.queues.common();
        let mut changed = BTreeMap::new();
        for (server, after) in &behind {
            let stored = self.stored.behind.get(*server);
            if stored == Some(after) {
                continue;
            }
            if changed.len() < STORED_AT_ONCE {
                changed.insert((*server).to_owned(), *after);
            } else if stored.is_none() {
                upto = upto.min(*after);
            }
        }
        let stored = self.stored.behind.keys();
        let caught_up = stored.filter(|server| !behind.contains_key(&***server));
        let caught_up = caught_up.cloned().collect();
        let behind = changed;
        (Destinations { upto, behind }, caught_up)
    }
}

fn next_minute(now_ms: i64) -> i64 {
    (now_ms / MINUTE_MS + 1) * MINUTE_MS
}

/// Whether a user is of this server.
fn is_of(user_id: &str, server: &ServerName) -> bool {
    let name = user_id.split_once(':').map(|(_, name)| name);
    name == Some(server.as_str())
}
