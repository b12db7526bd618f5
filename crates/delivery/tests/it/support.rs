//! A server with rooms that users of other servers are in, and a network in which these servers answer as they are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, ServerName};
use serde_json::{Value, json};
use starling_delivery::{Sender, SenderParts};
use starling_events::SigningKey;
use starling_outbound::{
    Answer, Backoff, FederationClient, Health, Identity, OutboundError, Request, Transport,
};
use starling_rooms::Actor;
use starling_runtime::Chance;
use starling_testkit::{TestDb, World};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With 200.
    Takes,
    /// It can't be reached.
    Down,
    /// Not at all.
    Hangs,
    /// With 403.
    Refuses,
    /// With 400, if something in the transaction is called `bad`.
    Picky,
    /// With 400, whatever it is.
    Rejects,
    /// With 400, if there is anything in the transaction.
    Hollow,
    /// With 400, if there are events in the transaction.
    Eventless,
    /// With 413, if it has more than 20,000 bytes.
    Small,
}

/// A transaction as it came to a server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) server: String,
    pub(crate) uri: String,
    pub(crate) bytes: Bytes,
    pub(crate) body: Value,
}

impl Received {
    /// The texts of its events.
    pub(crate) fn texts(&self) -> Vec<String> {
        let pdus = self.body["pdus"].as_array().expect("a list");
        let text = |pdu: &Value| pdu["content"]["body"].as_str().map(str::to_owned);
        pdus.iter().filter_map(text).collect()
    }

    /// The contents of its EDUs of a type.
    pub(crate) fn edus(&self, kind: &str) -> Vec<Value> {
        let edus = self.body["edus"].as_array().into_iter().flatten();
        let of_kind = edus.filter(|edu| edu["edu_type"] == kind);
        of_kind.map(|edu| edu["content"].clone()).collect()
    }
}

/// The network.
#[derive(Debug)]
pub(crate) struct Net {
    manners: Mutex<HashMap<String, Manner>>,
    received: mpsc::UnboundedSender<Received>,
    /// Each request that gets no answer has one, too.
    hanging: Arc<()>,
}

impl Net {
    /// How many requests get no answer.
    pub(crate) fn hanging(&self) -> usize {
        Arc::strong_count(&self.hanging) - 1
    }

    pub(crate) fn set(&self, server: &str, manner: Manner) {
        self.manners.lock().insert(server.to_owned(), manner);
    }
}

impl Transport for Net {
    fn send<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            let bytes = request.body.expect("a body");
            let body: Value = serde_json::from_slice(&bytes).expect("JSON");
            let has_events = body["pdus"] != json!([]);
            let is_empty = !has_events && body["edus"].is_null();
            assert!(request.authorization.is_some(), "it is signed");
            let is_bad = bytes.windows(5).any(|some| some == br#""bad""#);
            let is_large = bytes.len() > 20_000;
            let received = Received {
                server: destination.to_string(),
                uri: request.uri,
                bytes,
                body,
            };
            self.received.send(received).ok();
            let manner = self.manners.lock().get(destination.as_str()).copied();
            let status = match manner.unwrap_or(Manner::Takes) {
                Manner::Picky if is_bad => StatusCode::BAD_REQUEST,
                Manner::Rejects => StatusCode::BAD_REQUEST,
                Manner::Hollow if !is_empty => StatusCode::BAD_REQUEST,
                Manner::Eventless if has_events => StatusCode::BAD_REQUEST,
                Manner::Small if is_large => StatusCode::PAYLOAD_TOO_LARGE,
                Manner::Takes
                | Manner::Picky
                | Manner::Small
                | Manner::Hollow
                | Manner::Eventless => StatusCode::OK,
                Manner::Refuses => StatusCode::FORBIDDEN,
                Manner::Down => return Err(OutboundError::Connection("it is down".to_owned())),
                Manner::Hangs => {
                    let _hanging = Arc::clone(&self.hanging);
                    std::future::pending().await
                }
            };
            let body = Bytes::from_static(br#"{"pdus":{}}"#);
            Ok(Answer { status, body })
        })
    }
}

/// A server, Alice on it, and a room of hers.
pub(crate) struct Setting {
    pub(crate) world: World,
    pub(crate) alice: Actor,
    pub(crate) room: OwnedRoomId,
    pub(crate) net: Arc<Net>,
    pub(crate) client: FederationClient,
    received: mpsc::UnboundedReceiver<Received>,
    pub(crate) chance: Chance,
}

impl Setting {
    pub(crate) async fn new(db: &TestDb) -> Self {
        let world = World::start(db).await;
        let alice = world.user("alice").await;
        let room = world.room(&alice).await;
        let (sender, received) = mpsc::unbounded_channel();
        let net = Arc::new(Net {
            manners: Mutex::default(),
            received: sender,
            hanging: Arc::new(()),
        });
        let chance = Chance::seeded(3);
        let backoff = Backoff {
            initial_ms: 1_000,
            max_ms: 3_600_000,
        };
        let identity = Identity {
            server_name: "localhost".try_into().expect("a server name"),
            signing_key: Arc::new(SigningKey::generate([7; 32], "test").expect("a key")),
        };
        let transport: Arc<dyn Transport> = Arc::clone(&net) as _;
        let health = Health::new(backoff, world.clock.clone(), chance.clone());
        let client = FederationClient::new(identity, transport, health);
        Self {
            world,
            alice,
            room,
            net,
            client,
            received,
            chance,
        }
    }

    /// What sends.
    pub(crate) fn sender(&self) -> Sender {
        Sender::new(SenderParts {
            store: self.world.store.clone(),
            bus: self.world.bus.clone(),
            client: self.client.clone(),
            clock: self.world.clock.clone(),
            chance: self.chance.clone(),
        })
    }

    /// Begins to send.
    pub(crate) fn start(&self) -> Running {
        let sender = self.sender();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(sender.run(async move { drop(stopped.await) }));
        Running { stop, task }
    }

    /// A user of another server joins Alice's room.
    pub(crate) async fn join_remote(&self, user_id: &str) {
        self.world.join_remote(&self.room, user_id).await;
    }

    /// Alice says something.
    pub(crate) async fn say(&self, text: &str) -> OwnedEventId {
        let said = self.world.say(&self.alice, &self.room, text).await;
        said.expect("it is sent")
    }

    /// The next transaction that some server gets.
    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(Duration::from_secs(20), self.received.recv());
        next.await.expect("it comes").expect("the network is there")
    }

    /// The next transactions of as many servers, by their names.
    pub(crate) async fn next_of<const N: usize>(&mut self) -> [Received; N] {
        let mut all = Vec::new();
        for _ in 0..N {
            all.push(self.next().await);
        }
        all.sort_by(|one, other| one.server.cmp(&other.server));
        all.try_into().expect("as many as wanted")
    }

    /// What came and was not looked at.
    pub(crate) fn rest(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }

    /// Nothing has come that nobody looked at.
    pub(crate) fn has_no_more(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

/// A sender at work.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// It stops, as the server does.
    pub(crate) async fn stop(self) {
        settle().await;
        self.stop.send(()).ok();
        self.task.await.expect("it ends");
    }

    /// It is gone at once.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }
}

/// Lets what is under way end, as far as it waits for nothing else.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass.
pub(crate) async fn seconds(seconds: u64) {
    settle().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

pub(crate) fn server(name: &str) -> OwnedServerName {
    name.try_into().expect("a server name")
}
