//! One transaction: read, written and sent.
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ruma_common::{OwnedServerName, ServerName};
use serde_json::Value;
use starling_db::{Error, Tx, Write};
use starling_e2ee::outgoing_changes;
use starling_outbound::{RemoteError, Request};
use starling_store::EventNum;
use starling_store::destinations::missed_after;
use starling_store::events::Event;
use starling_store::outgoing::receipts_missed;
use starling_store::to_device::{
    QueueLimit, WaitingMessage, outgoing_to_device_delete, outgoing_to_device_next,
};

use super::apart::apart;
use super::edus::{Edus, MOST_OF_ALL, MOST_TO_DEVICE, Told};
use super::{SenderParts, is_of};

/// A transaction has at most so many.
pub(super) const MOST_PDUS: usize = 50;

/// It has so many bytes of messages to devices, unless one alone has more: large transactions take long, and some servers
/// refuse them.
const TO_DEVICE_BYTES: i64 = 1 << 20;

/// How long a server may work on one.
const PATIENCE: Duration = Duration::from_mins(1);

/// A receipt that is older, in milliseconds (a day), is not told to a server that has missed it.
const OLD_RECEIPT_MS: i64 = 24 * 60 * 60 * 1000;

/// So many receipts are told to a server that has missed them.
const MOST_RECEIPTS: u32 = 1_000;

/// What to send.
#[derive(Debug)]
pub(super) enum Wanted {
    /// The events at these positions.
    These(Vec<i64>),
    /// The next of those that were missed after a position, and the receipts after another.
    Missed { after: i64, receipts_after: i64 },
    /// What got no answer.
    Again(Box<Transaction>),
}

/// What a server gets next.
#[derive(Debug)]
pub(super) struct Next {
    /// The server.
    pub(super) server: OwnedServerName,
    /// Which events.
    pub(super) wanted: Wanted,
    /// What else.
    pub(super) told: Told,
    /// Whether messages to devices may wait for it.
    pub(super) to_device: bool,
}

/// An attempt to send something.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What, and to whom.
    pub(super) next: Next,
    /// The id of a new transaction.
    pub(super) txn_id: String,
}

/// A transaction as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    id: String,
    body: Bytes,
    /// The position of its last event.
    upto: Option<i64>,
    /// The positions of the messages to devices in it, which go when the server has them.
    to_device: Vec<i64>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Attempted {
    /// To whom it was.
    pub(super) server: OwnedServerName,
    /// The position of the last event in it.
    pub(super) upto: Option<i64>,
    /// Whether nothing else was missed.
    pub(super) is_all: bool,
    /// Whether messages to devices may still wait, of those that were to be in it.
    pub(super) to_device: bool,
    /// Whether the server has it.
    pub(super) outcome: Outcome,
}

/// Whether a server has a transaction.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has, or there was nothing to send.
    Sent,
    /// It hasn't, or hasn't said so; then with the transaction, if it may have got it.
    Failed(Option<Box<Transaction>>),
}

/// What a transaction is made of.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) events: Vec<Arc<Event>>,
    /// The position of the last event, also if that isn't here any longer.
    pub(super) upto: Option<i64>,
    pub(super) is_all: bool,
    pub(super) edus: Vec<Value>,
    /// Messages to devices.
    pub(super) to_device: Vec<WaitingMessage>,
    /// Whether there are more of them.
    pub(super) has_more_to_device: bool,
}

impl Attempt {
    /// Sends it.
    pub(super) async fn make(self, parts: Arc<SenderParts>) -> Attempted {
        let Self { next, txn_id } = self;
        let Next {
            server,
            wanted,
            told,
            to_device,
        } = next;
        let contents = match wanted {
            Wanted::Again(transaction) => {
                let answer = put(&parts, &server, &transaction).await;
                return ended(&parts, server, *transaction, (false, false), answer).await;
            }
            Wanted::These(positions) => these(&parts, &positions).await,
            Wanted::Missed {
                after,
                receipts_after,
            } => missed(&parts, server.clone(), (after, receipts_after)).await,
        };
        let contents = match contents {
            Ok(contents) if to_device => {
                let others = contents.edus.len() + told.edus.len();
                let most = MOST_OF_ALL.saturating_sub(others).min(MOST_TO_DEVICE);
                with_to_device(&parts, &server, contents, most).await
            }
            other => other,
        };
        let mut contents = match contents {
            Ok(contents) => contents,
            Err(error) => {
                tracing::warn!(%error, %server, "what goes to another server waits for the database");
                return Attempted {
                    server,
                    upto: None,
                    is_all: false,
                    to_device,
                    outcome: Outcome::Failed(None),
                };
            }
        };
        contents.edus.extend(told.edus);
        contents.edus.truncate(MOST_OF_ALL);
        let is_all = contents.is_all;
        if contents.len() == 0 {
            return Attempted {
                server,
                upto: contents.upto,
                is_all,
                to_device: false,
                outcome: Outcome::Sent,
            };
        }
        let transaction = Transaction::new(&parts, txn_id, &contents);
        let rest = (is_all, contents.has_more_to_device);
        match put(&parts, &server, &transaction).await {
            Err(error) if is_for_its_contents(&error) && contents.len() > 1 => {
                tracing::debug!(%error, %server, "a transaction goes in parts");
                apart(&parts, server, &transaction.id, contents).await
            }
            answer => ended(&parts, server, transaction, rest, answer).await,
        }
    }
}

impl Contents {
    /// How many events and EDUs there are.
    pub(super) fn len(&self) -> usize {
        self.events.len() + self.edus.len() + self.to_device.len()
    }

    pub(super) fn has_edus(&self) -> bool {
        !self.edus.is_empty() || !self.to_device.is_empty()
    }

    /// The EDUs, each in canonical form, with commas between them.
    fn write_edus(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for message in &self.to_device {
            separate(out, start);
            out.extend_from_slice(br#"{"content":"#);
            out.extend_from_slice(&message.json);
            out.extend_from_slice(br#","edu_type":"m.direct_to_device"}"#);
        }
        for edu in &self.edus {
            separate(out, start);
            out.extend_from_slice(edu.to_string().as_bytes());
        }
    }
}

fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

impl Transaction {
    /// In canonical form: that is what is signed.
    pub(super) fn new(parts: &SenderParts, id: String, contents: &Contents) -> Self {
        let mut body = Vec::with_capacity(1024);
        body.push(b'{');
        if contents.has_edus() {
            body.extend_from_slice(br#""edus":["#);
            contents.write_edus(&mut body);
            body.extend_from_slice(b"],");
        }
        // The name of a server has nothing in it that JSON escapes.
        let head = format!(
            r#""origin":"{}","origin_server_ts":{},"pdus":["#,
            parts.client.identity().server_name,
            parts.clock.now_ms()
        );
        body.extend(head.into_bytes());
        for (at, event) in contents.events.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(event.pdu.json());
        }
        body.extend_from_slice(b"]}");
        Self {
            id,
            body: body.into(),
            upto: contents.upto,
            to_device: contents.to_device.iter().map(|it| it.position).collect(),
        }
    }
}

/// The events at positions, which are their numbers, and the changes of devices at the others.
async fn these(parts: &SenderParts, positions: &[i64]) -> Result<Contents, Error> {
    let numbers: Vec<EventNum> = positions.iter().copied().map(EventNum).collect();
    let events = parts.store.events_load(&numbers).await?;
    let mut edus = Vec::new();
    if events.len() < positions.len() {
        let (store, positions) = (parts.store.clone(), positions.to_vec());
        let read = move |tx: &mut Tx<'_>| outgoing_changes(&store, tx, &positions);
        edus = parts.store.db().read("outgoing_devices", read).await?;
    }
    Ok(Contents {
        events,
        upto: positions.last().copied(),
        edus,
        ..Contents::default()
    })
}

/// The next events that a server has missed; with the last of them, the receipts.
async fn missed(
    parts: &SenderParts,
    server: OwnedServerName,
    (after, receipts_after): (i64, i64),
) -> Result<Contents, Error> {
    let (store, own) = (
        parts.store.clone(),
        parts.client.identity().server_name.clone(),
    );
    let now_ms = parts.clock.now_ms();
    let read = move |tx: &mut Tx<'_>| {
        let missed = missed_after(tx, &server, after, MOST_PDUS)?;
        let numbers: Vec<EventNum> = missed.positions.iter().copied().map(EventNum).collect();
        let events = store.events_read(tx, &numbers)?;
        let mut told = if events.len() < numbers.len() {
            outgoing_changes(&store, tx, &missed.positions)?
        } else {
            Vec::new()
        };
        let mut edus = Edus::default();
        if missed.is_all {
            let since = (receipts_after, now_ms - OLD_RECEIPT_MS);
            let receipts = receipts_missed(tx, &server, since, MOST_RECEIPTS)?;
            let local = |user: &str| is_of(user, &own);
            for receipt in receipts {
                if local(receipt.receipt.user_id.as_str()) {
                    edus.add_receipt(&Arc::new(receipt));
                }
            }
        }
        told.extend(edus.take(now_ms).edus);
        Ok(Contents {
            events,
            upto: missed.positions.last().copied(),
            is_all: missed.is_all,
            edus: told,
            ..Contents::default()
        })
    };
    parts.store.db().scan("missed", read).await
}

/// Adds the messages to devices that wait for a server, at most so many.
async fn with_to_device(
    parts: &SenderParts,
    server: &ServerName,
    contents: Contents,
    most: usize,
) -> Result<Contents, Error> {
    let server = server.to_owned();
    let most = QueueLimit {
        messages: i64::try_from(most).unwrap_or(i64::MAX),
        bytes: TO_DEVICE_BYTES,
    };
    let read = move |tx: &mut Tx<'_>| outgoing_to_device_next(tx, &server, most);
    let read = parts.store.db().read("outgoing_to_device", read);
    let (to_device, has_more_to_device) = read.await?;
    Ok(Contents {
        to_device,
        has_more_to_device,
        ..contents
    })
}

/// The server has these messages to devices. After a crash before that is stored, it gets them once more, and knows them by
/// their ids.
pub(super) async fn forget_to_device(
    parts: &SenderParts,
    positions: Vec<i64>,
) -> Result<(), Error> {
    if positions.is_empty() {
        return Ok(());
    }
    let delete = move |tx: &mut Tx<'_>| outgoing_to_device_delete(tx, &positions);
    let write = Write::new("outgoing_to_device_delete").relaxed();
    parts.store.db().write(write, delete).await
}

/// Sends a transaction.
pub(super) async fn put(
    parts: &SenderParts,
    server: &ServerName,
    transaction: &Transaction,
) -> Result<Bytes, RemoteError> {
    let uri = format!("/_matrix/federation/v1/send/{}", transaction.id);
    let request = Request::put(uri, transaction.body.clone()).patience(PATIENCE);
    let answer = parts.client.request(server, request).await;
    count(&answer);
    answer
}

/// Whether a server says no to what it is sent, and not to us, and not only for now.
pub(super) fn is_for_its_contents(error: &RemoteError) -> bool {
    let RemoteError::Refused { status, .. } = error else {
        return false;
    };
    matches!(status.as_u16(), 400 | 413)
}

/// What came of a transaction; `rest` is whether nothing else was missed, and whether more messages to devices wait.
async fn ended(
    parts: &SenderParts,
    server: OwnedServerName,
    transaction: Transaction,
    (is_all, has_more_to_device): (bool, bool),
    answer: Result<Bytes, RemoteError>,
) -> Attempted {
    let upto = transaction.upto;
    let mut to_device = has_more_to_device || !transaction.to_device.is_empty();
    let outcome = match answer {
        Ok(answer) => {
            log_refused(&server, &answer);
            match forget_to_device(parts, transaction.to_device).await {
                Ok(()) => {
                    to_device = has_more_to_device;
                    Outcome::Sent
                }
                Err(error) => {
                    tracing::warn!(%error, %server, "messages to devices are sent once more");
                    Outcome::Failed(None)
                }
            }
        }
        Err(error) => {
            tracing::debug!(%error, %server, "a transaction was not taken");
            let may_have_come = !matches!(error, RemoteError::BackedOff { .. });
            Outcome::Failed(may_have_come.then(|| Box::new(transaction)))
        }
    };
    Attempted {
        server,
        upto,
        is_all,
        to_device,
        outcome,
    }
}

/// Counts a transaction, unless the server was left alone.
fn count<T>(answer: &Result<T, RemoteError>) {
    let result = match answer {
        Ok(_) => "sent",
        Err(RemoteError::BackedOff { .. }) => return,
        Err(_) => "failed",
    };
    metrics::counter!("starling_federation_transactions_sent_total", "result" => result)
        .increment(1);
}

/// A server may have its reasons not to take an event: it has its own rules for what it believes.
pub(super) fn log_refused(server: &ServerName, answer: &[u8]) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let results = answer.get("pdus").and_then(Value::as_object);
    for (event_id, result) in results.into_iter().flatten() {
        if let Some(error) = result.get("error") {
            tracing::debug!(%server, event_id, %error, "an event was not taken");
        }
    }
}
