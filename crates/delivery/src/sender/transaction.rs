//! One transaction: read, written and sent.
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ruma_common::{OwnedServerName, ServerName};
use serde_json::Value;
use starling_db::{Error, Tx};
use starling_e2ee::outgoing_changes;
use starling_outbound::{RemoteError, Request};
use starling_store::EventNum;
use starling_store::destinations::missed_after;
use starling_store::events::Event;
use starling_store::outgoing::receipts_missed;

use super::edus::{Edus, Told};
use super::{SenderParts, is_of};

/// A transaction has at most so many.
pub(super) const MOST_PDUS: usize = 50;

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

/// An attempt to send something.
#[derive(Debug)]
pub(super) struct Attempt {
    /// To whom.
    pub(super) server: OwnedServerName,
    /// Which events.
    pub(super) wanted: Wanted,
    /// What else.
    pub(super) told: Told,
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
struct Contents {
    events: Vec<Arc<Event>>,
    /// The position of the last event, also if that isn't here any longer.
    upto: Option<i64>,
    is_all: bool,
    edus: Vec<Value>,
}

impl Attempt {
    /// Sends it.
    pub(super) async fn make(self, parts: Arc<SenderParts>) -> Attempted {
        let Self {
            server,
            wanted,
            told,
            txn_id,
        } = self;
        let contents = match wanted {
            Wanted::Again(transaction) => return send(&parts, server, *transaction, false).await,
            Wanted::These(positions) => these(&parts, &positions).await,
            Wanted::Missed {
                after,
                receipts_after,
            } => missed(&parts, server.clone(), (after, receipts_after)).await,
        };
        let mut contents = match contents {
            Ok(contents) => contents,
            Err(error) => {
                tracing::warn!(%error, %server, "what goes to another server waits for the database");
                return Attempted {
                    server,
                    upto: None,
                    is_all: false,
                    outcome: Outcome::Failed(None),
                };
            }
        };
        contents.edus.extend(told.edus);
        let is_all = contents.is_all;
        if contents.events.is_empty() && contents.edus.is_empty() {
            return Attempted {
                server,
                upto: contents.upto,
                is_all,
                outcome: Outcome::Sent,
            };
        }
        let transaction = Transaction::new(&parts, txn_id, &contents);
        send(&parts, server, transaction, is_all).await
    }
}

impl Transaction {
    /// In canonical form: that is what is signed.
    fn new(parts: &SenderParts, id: String, contents: &Contents) -> Self {
        let mut body = Vec::with_capacity(1024);
        body.push(b'{');
        if !contents.edus.is_empty() {
            let edus: Vec<String> = contents.edus.iter().map(Value::to_string).collect();
            body.extend(format!(r#""edus":[{}],"#, edus.join(",")).into_bytes());
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
        })
    };
    parts.store.db().scan("missed", read).await
}

async fn send(
    parts: &SenderParts,
    server: OwnedServerName,
    transaction: Transaction,
    is_all: bool,
) -> Attempted {
    let uri = format!("/_matrix/federation/v1/send/{}", transaction.id);
    let request = Request::put(uri, transaction.body.clone()).patience(PATIENCE);
    let answer = parts.client.request(&server, request).await;
    let upto = transaction.upto;
    let outcome = match answer {
        Ok(answer) => {
            log_refused(&server, &answer);
            Outcome::Sent
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
        outcome,
    }
}

/// A server may have its reasons not to take an event: it has its own rules for what it believes.
fn log_refused(server: &ServerName, answer: &[u8]) {
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
