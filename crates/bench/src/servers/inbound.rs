//! Messages from another server, which sends one full transaction after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName};
use rustls::ClientConfig;
use serde::Deserialize;
use starling_events::Pdu;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Error;
use super::fan_out::numbers;
use super::http::{Answer, Connection};
use super::meter::{Meter, Round};
use super::target::Target;
use super::user::User;
use crate::resident::room::Room;
use crate::resident::{Resident, SignedRequest};

/// As many events as a transaction may have.
const AT_ONCE: usize = 50;
/// So many of a room are on their way at most: of more, Synapse keeps the last and asks for the others later.
const ON_THEIR_WAY: u64 = 99;
/// How long a poll waits for something new, in milliseconds.
const POLL_MS: u32 = 10_000;
/// How long the messages may take until all are shown.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long the other server waits before it sends again what wasn't taken.
const PAUSE: Duration = Duration::from_millis(20);

/// The other server, and what it sends.
#[derive(Debug, Clone)]
pub struct Source {
    /// The server.
    pub resident: Arc<Resident>,
    /// The rooms, whose messages alternate.
    pub rooms: Vec<Arc<Room>>,
    /// How others are reached in its name.
    pub tls: Arc<ClientConfig>,
    /// How many messages there are together.
    pub events: u64,
}

/// What receiving took.
#[derive(Debug, Clone)]
pub struct Received {
    /// Until the last message of each room was shown. Latencies are those of the transactions' answers.
    pub round: Round,
    /// How many events were not taken when they were first sent.
    pub refused: u64,
}

#[derive(Deserialize)]
struct Verdicts {
    #[serde(default)]
    pdus: BTreeMap<OwnedEventId, Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    error: Option<String>,
}

/// Sends messages of rooms in which `guest` is, who listens. All of them are in the history then: that is checked.
///
/// # Errors
/// When the server refuses something, or doesn't show all.
pub async fn round(
    target: &Target,
    run: &str,
    guest: &mut User,
    source: &Source,
) -> Result<Option<Received>, Error> {
    let Some(address) = target.federation else {
        return Ok(None);
    };
    let name = address.to_string();
    let server: OwnedServerName = name
        .try_into()
        .map_err(|_| Error::Request(address.to_string()))?;
    let (show, shown) = watch::channel(vec![0; source.rooms.len()]);
    let mut sending = Sending {
        shown,
        sent: vec![0; source.rooms.len()],
        rooms: source.rooms.iter().map(|room| room.id.clone()).collect(),
        connection: Connection::secure(address, source.tls.clone()),
        batches: batches(run, &server, source),
        resident: &source.resident,
        server,
        run,
    };
    let requests = sending.requests();
    let since = guest.sync(None, 0).await?.next_batch;
    let meter = Meter::start(target);
    let listening = listen((guest, since), (run, source), show);
    let ((latencies, refused), ()) = tokio::try_join!(sending.send(requests), listening)?;
    let round = meter.stop(source.events, latencies);
    for room in 0..source.rooms.len() {
        check_history(guest, run, source, room).await?;
    }
    Ok(Some(Received { round, refused }))
}

/// What stands in the messages of a room before their number.
fn mark(run: &str, room: usize) -> String {
    format!("inbound {run}.{room}.")
}

fn each(source: &Source) -> u64 {
    source.events / u64::try_from(source.rooms.len()).unwrap_or(u64::MAX).max(1)
}

/// The messages, of one room after the other in turn, as many at once as a transaction may have.
fn batches(run: &str, server: &OwnedServerName, source: &Source) -> Vec<Vec<Pdu>> {
    let rooms = source.rooms.iter().enumerate();
    let lines = rooms.map(|(index, room)| {
        let mark = mark(run, index);
        source
            .resident
            .say(server, room, &mark, 0..each(source))
            .into_iter()
    });
    let mut lines: Vec<_> = lines.collect();
    let mut all = Vec::new();
    while all.len() < usize::try_from(source.events).unwrap_or(usize::MAX) {
        let before = all.len();
        all.extend(lines.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            break;
        }
    }
    all.chunks(AT_ONCE).map(<[Pdu]>::to_vec).collect()
}

struct Sending<'a> {
    /// How many of each room are shown.
    shown: watch::Receiver<Vec<u64>>,
    /// How many of each were sent.
    sent: Vec<u64>,
    rooms: Vec<OwnedRoomId>,
    connection: Connection,
    batches: Vec<Vec<Pdu>>,
    resident: &'a Resident,
    server: OwnedServerName,
    run: &'a str,
}

impl Sending<'_> {
    /// All transactions, signed: that is not what is measured.
    fn requests(&self) -> Vec<SignedRequest> {
        let request = |(number, batch): (usize, &Vec<Pdu>)| {
            let id = format!("{}.{number}", self.run);
            self.resident.transaction(&self.server, &id, batch)
        };
        self.batches.iter().enumerate().map(request).collect()
    }

    /// Sends each as soon as the one before it is answered and not too many are on their way; what the server doesn't take,
    /// once more. Gives how long the answers took, and how many events were not taken at first.
    async fn send(&mut self, requests: Vec<SignedRequest>) -> Result<(Vec<Duration>, u64), Error> {
        let mut latencies = Vec::with_capacity(requests.len());
        let mut refused = 0;
        for (number, request) in requests.into_iter().enumerate() {
            self.wait_to_send(number).await;
            let begun = Instant::now();
            let mut left = self.put(&request).await?;
            latencies.push(begun.elapsed());
            refused += u64::try_from(left.len()).unwrap_or(u64::MAX);
            let mut tries = 0;
            while !left.is_empty() {
                sleep(PAUSE).await;
                tries += 1;
                let id = format!("{}.{number}.{tries}", self.run);
                let batch = self.batches.get(number).map_or(&[][..], Vec::as_slice);
                let again: Vec<Pdu> = batch
                    .iter()
                    .filter(|event| left.contains(event.event_id()))
                    .cloned()
                    .collect();
                left = self
                    .put(&self.resident.transaction(&self.server, &id, &again))
                    .await?;
            }
        }
        Ok((latencies, refused))
    }

    /// Waits until not too many are on their way with these.
    async fn wait_to_send(&mut self, batch: usize) {
        for event in self.batches.get(batch).into_iter().flatten() {
            let index = self.rooms.iter().position(|room| room == event.room_id());
            if let Some(sent) = index.and_then(|index| self.sent.get_mut(index)) {
                *sent += 1;
            }
        }
        let sent = &self.sent;
        let are_few = |shown: &Vec<u64>| {
            let mut rooms = sent.iter().zip(shown);
            rooms.all(|(sent, shown)| sent.saturating_sub(*shown) <= ON_THEIR_WAY)
        };
        // If who listens has failed, that ends everything.
        self.shown.wait_for(are_few).await.ok();
    }

    /// Sends a transaction; gives the events that weren't taken.
    async fn put(&mut self, request: &SignedRequest) -> Result<BTreeSet<OwnedEventId>, Error> {
        loop {
            let authorization = Some(request.authorization.as_str());
            let body = Some(request.body.clone());
            let answer =
                self.connection
                    .authorized(&Method::PUT, &request.path, authorization, body);
            let answer = answer.await?;
            if answer.status != StatusCode::TOO_MANY_REQUESTS {
                return refused(&request.path, &answer);
            }
            sleep(PAUSE).await;
        }
    }
}

fn refused(path: &str, answer: &Answer) -> Result<BTreeSet<OwnedEventId>, Error> {
    let verdicts: Verdicts = super::user::parsed(path, answer)?;
    let refused = verdicts
        .pdus
        .into_iter()
        .filter(|(_, verdict)| verdict.error.is_some());
    Ok(refused.map(|(event, _)| event).collect())
}

/// Waits until the last message of each room is shown, and says how many are.
async fn listen(
    (guest, mut since): (&mut User, String),
    (run, source): (&str, &Source),
    show: watch::Sender<Vec<u64>>,
) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    let all = each(source) * u64::try_from(source.rooms.len()).unwrap_or(u64::MAX);
    let mut shown = vec![0; source.rooms.len()];
    let missing = |shown: &[u64]| all.saturating_sub(shown.iter().sum());
    while missing(&shown) > 0 {
        if Instant::now() > until {
            return Err(Error::NotReceived {
                missing: missing(&shown),
                events: all,
            });
        }
        let synced = guest.sync(Some(&since), POLL_MS).await?;
        since = synced.next_batch;
        for (room, shown) in shown.iter_mut().enumerate() {
            // Each follows the one before: where one is shown, those are in the room too.
            let newest = numbers(&synced.body, &mark(run, room)).into_iter().max();
            *shown = newest.map_or(*shown, |newest| newest + 1);
        }
        show.send_replace(shown.clone());
    }
    Ok(())
}

/// Pages back until all messages of a room have been seen.
async fn check_history(
    guest: &mut User,
    run: &str,
    source: &Source,
    room: usize,
) -> Result<(), Error> {
    let Some(id) = source.rooms.get(room).map(|room| room.id.as_str()) else {
        return Ok(());
    };
    let (wanted, mark) = (each(source), mark(run, room));
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    let mut from = None;
    loop {
        let (page, end) = guest.page_back(id, from.as_deref()).await?;
        let before = seen.len();
        seen.extend(numbers(&page, &mark));
        let missing = wanted.saturating_sub(u64::try_from(seen.len()).unwrap_or(u64::MAX));
        if missing == 0 {
            return Ok(());
        }
        if end.is_none() || seen.len() == before {
            return Err(Error::NotReceived {
                missing,
                events: wanted,
            });
        }
        from = end;
    }
}
