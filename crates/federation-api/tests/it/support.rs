//! A server in process, other servers that are made up, and the network between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{Method, Request as HttpRequest, StatusCode};
use http_body_util::BodyExt as _;
use ruma_common::{OwnedServerName, RoomId, ServerName, UserId, server_name};
use serde_json::{Value, json};
use starling_config::{Config, Listener};
use starling_db::{Tx, Write};
use starling_events::request_auth::sign_request;
use starling_events::server_keys::own_key_document;
use starling_events::{CanonicalObject, EventBuilder, EventReference, Pdu, SigningKey};
use starling_federation_api::{Parts, State};
use starling_http::{Edge, Routes};
use starling_outbound::{
    Answer, Backoff, FederationClient, Health, Identity, KeyRing, OutboundError, Request, Transport,
};
use starling_stateres::auth_types;
use starling_store::SCHEMA;
use starling_store::append::{AppendError, NewEvent};
use starling_store::rooms::RoomSnapshot;
use starling_testkit::{TestAnswer, TestServer, on_each_engine};
use tower::ServiceExt as _;

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The name of the server under test.
pub(crate) fn here() -> &'static ServerName {
    server_name!("localhost")
}

type Target = (OwnedServerName, String);

/// Servers that answer what they were told to.
#[derive(Debug, Default)]
pub(crate) struct Internet {
    /// By server and target.
    answers: Mutex<HashMap<Target, Vec<u8>>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Internet {
    pub(crate) fn answers(&self, server: &ServerName, uri: &str, body: &[u8]) {
        let key = (server.to_owned(), uri.to_owned());
        self.answers.lock().unwrap().insert(key, body.to_vec());
    }

    /// From now on the server cannot be reached.
    pub(crate) fn is_gone(&self, server: &ServerName) {
        self.answers
            .lock()
            .unwrap()
            .retain(|(name, _), _| name != server);
    }

    /// How often a server was asked for its keys.
    pub(crate) fn key_requests(&self, server: &ServerName) -> usize {
        let asked = self.asked.lock().unwrap();
        let request = format!("{server} /_matrix/key/v2/server");
        asked.iter().filter(|asked| **asked == request).count()
    }
}

impl Transport for Internet {
    fn send<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(async move {
            let asked = format!("{destination} {}", request.uri);
            self.asked.lock().unwrap().push(asked);
            // As over a network, others go on meanwhile.
            tokio::task::yield_now().await;
            let key = (destination.to_owned(), request.uri);
            let body = self.answers.lock().unwrap().get(&key).cloned();
            match body {
                Some(body) => Ok(Answer {
                    status: StatusCode::OK,
                    body: body.into(),
                }),
                None => Err(OutboundError::Connection("nobody is there".to_owned())),
            }
        })
    }
}

/// Another server.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: OwnedServerName,
    pub(crate) key: SigningKey,
}

impl Peer {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        Self {
            name: name.try_into().unwrap(),
            key: SigningKey::generate([seed; 32], &format!("k{seed}")).unwrap(),
        }
    }

    /// Its key document.
    pub(crate) fn document(&self, valid_until_ms: i64) -> Vec<u8> {
        let document = own_key_document(&self.name, &self.key, &[], valid_until_ms);
        document.unwrap().as_bytes().to_vec()
    }
}

/// The server under test.
pub(crate) struct Here {
    pub(crate) server: TestServer,
    pub(crate) internet: Arc<Internet>,
    pub(crate) state: State,
    app: Router,
}

/// Runs a test with a fresh server on each engine.
pub(crate) async fn on_servers<F: AsyncFn(Here)>(test: F) {
    on_servers_with(TestServer::config(), test).await;
}

/// As [`on_servers`], with this configuration.
pub(crate) async fn on_servers_with<F: AsyncFn(Here)>(config: Config, test: F) {
    on_each_engine(&SCHEMA, async |db| {
        let internet = Arc::new(Internet::default());
        let transport: Arc<dyn Transport> = Arc::clone(&internet) as _;
        let server = TestServer::start_on(&db, config.clone(), transport).await;
        test(Here::new(server, internet)).await;
    })
    .await;
}

impl Here {
    fn new(server: TestServer, internet: Arc<Internet>) -> Self {
        let (clock, chance) = (server.state.clock.clone(), server.state.chance.clone());
        let identity = Identity {
            server_name: here().to_owned(),
            signing_key: Arc::new(SigningKey::generate([7; 32], "test").unwrap()),
        };
        let backoff = Backoff {
            initial_ms: 60_000,
            max_ms: 3_600_000,
        };
        let health = Health::new(backoff, clock.clone(), chance.clone());
        let transport: Arc<dyn Transport> = Arc::clone(&internet) as _;
        let client = FederationClient::new(identity, transport, health);
        let store = server.state.store.clone();
        let state = State::new(Parts {
            config: Arc::clone(&server.state.config),
            accounts: server.state.accounts.clone(),
            rooms: server.state.rooms.clone(),
            ephemeral: server.state.ephemeral.clone(),
            device_keys: server.state.keys.clone(),
            to_device: server.state.to_device.clone(),
            keys: KeyRing::new(store, client.clone(), clock.clone(), Vec::new()),
            client,
            old_keys: Vec::new(),
            clock: clock.clone(),
            limiter: server.state.limiter.clone(),
        });
        let edge = Edge {
            clock,
            chance,
            health: Arc::new(|| Box::pin(async { Ok(()) })),
            limiter: server.state.limiter.clone(),
            metrics: None,
        };
        let routes: Routes<State> = starling_federation_api::routes();
        let app = edge.app(&Listener::default(), routes.into_router(state.clone()));
        Self {
            server,
            internet,
            state,
            app,
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.state.clock.now_ms()
    }

    /// A server that publishes its key.
    pub(crate) fn peer(&self, name: &str, seed: u8) -> Peer {
        let peer = Peer::new(name, seed);
        let document = peer.document(self.now_ms() + DAY_MS);
        self.internet
            .answers(&peer.name, "/_matrix/key/v2/server", &document);
        peer
    }

    /// An answer to anybody.
    pub(crate) async fn ask(
        &self,
        (method, uri): (Method, &str),
        authorization: Option<&str>,
        body: Vec<u8>,
    ) -> TestAnswer {
        let mut request = HttpRequest::builder().method(method).uri(uri);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        TestAnswer {
            status,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    /// The answer to a peer's signed GET below `/_matrix/federation/v1/`.
    pub(crate) async fn get(&self, peer: &Peer, path: &str) -> TestAnswer {
        let uri = format!("/_matrix/federation/v1/{path}");
        let auth = sign_request(("GET", &uri, None), (&peer.name, here()), &peer.key);
        self.ask((Method::GET, &uri), Some(&auth), Vec::new()).await
    }

    /// The answer to a peer's signed POST below `/_matrix/federation/v1/`.
    pub(crate) async fn post(&self, peer: &Peer, path: &str, body: &Value) -> TestAnswer {
        let uri = format!("/_matrix/federation/v1/{path}");
        let body = body.to_string().into_bytes();
        let auth = sign_request(("POST", &uri, Some(&body)), (&peer.name, here()), &peer.key);
        self.ask((Method::POST, &uri), Some(&auth), body).await
    }

    /// The answer to a peer's signed PUT below `/_matrix/federation/`.
    pub(crate) async fn put(&self, peer: &Peer, path: &str, body: &Value) -> TestAnswer {
        let uri = format!("/_matrix/federation/{path}");
        let body = body.to_string().into_bytes();
        let auth = sign_request(("PUT", &uri, Some(&body)), (&peer.name, here()), &peer.key);
        self.ask((Method::PUT, &uri), Some(&auth), body).await
    }

    /// A new user's access token.
    pub(crate) async fn user(&self, name: &str) -> String {
        let registered = self.server.register(name).await;
        registered["access_token"].as_str().unwrap().to_owned()
    }

    /// The good answer to a user.
    pub(crate) async fn as_user(
        &self,
        token: &str,
        (method, path): (Method, &str),
        body: Value,
    ) -> Value {
        let path = format!("/_matrix/client/v3/{path}");
        let body = (method != Method::GET).then_some(body);
        let answer = self.server.request(method, &path, Some(token), body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// A new room.
    pub(crate) async fn room(&self, token: &str, wanted: Value) -> String {
        let made = self
            .as_user(token, (Method::POST, "createRoom"), wanted)
            .await;
        made["room_id"].as_str().unwrap().to_owned()
    }

    /// The id of a text that a user sends.
    pub(crate) async fn say(&self, token: &str, room: &str, text: &str) -> String {
        let path = format!(
            "rooms/{}/send/m.room.message/{}",
            segment(room),
            segment(text)
        );
        let content = json!({ "msgtype": "m.text", "body": text });
        let sent = self.as_user(token, (Method::PUT, &path), content).await;
        sent["event_id"].as_str().unwrap().to_owned()
    }

    /// The id of a state event that a user sends.
    pub(crate) async fn set(
        &self,
        token: &str,
        room: &str,
        (kind, key): (&str, &str),
        content: Value,
    ) -> String {
        let path = format!("rooms/{}/state/{kind}/{}", segment(room), segment(key));
        let sent = self.as_user(token, (Method::PUT, &path), content).await;
        sent["event_id"].as_str().unwrap().to_owned()
    }

    /// An event that a user of a peer makes for a room.
    pub(crate) async fn event(
        &self,
        peer: &Peer,
        of: (&str, &str),
        kind: (&str, Option<&str>),
        content: &Value,
    ) -> Pdu {
        self.made(peer, of, kind, content).await.1.pdu
    }

    /// The room as it is, and the event that a user of a peer makes of it.
    async fn made(
        &self,
        peer: &Peer,
        (room, user): (&str, &str),
        (kind, key): (&str, Option<&str>),
        content: &Value,
    ) -> (Arc<RoomSnapshot>, NewEvent) {
        let store = &self.server.state.store;
        let room_id = <&RoomId>::try_from(room).unwrap();
        let num = store.room_num(room_id).await.unwrap().unwrap();
        let before = store.room(num).await.unwrap().unwrap();
        let content = CanonicalObject::from_serialize(content).unwrap();
        let user = <&UserId>::try_from(user).unwrap();
        let auth: Vec<(Box<str>, Box<str>)> =
            auth_types(before.version, kind, user, key, content.as_bytes())
                .into_iter()
                .map(|(kind, key)| (Box::from(kind), Box::from(&*key)))
                .collect();
        let (auth, auth_events) = self.auth_events(&before, auth).await;
        let depth = before.extremities.iter().map(|last| last.depth).max();
        let builder = EventBuilder {
            room_id: Some(room_id.to_owned()),
            sender: user.to_owned(),
            kind: kind.to_owned(),
            state_key: key.map(str::to_owned),
            content,
            redacts: None,
            origin_server_ts: self.now_ms(),
            depth: depth.unwrap_or(0) + 1,
            prev_events: before
                .extremities
                .iter()
                .map(|last| last.reference.clone())
                .collect(),
            auth_events,
        };
        let pdu: Pdu = builder
            .build(before.version, &peer.name, &peer.key)
            .unwrap();
        let new = NewEvent {
            fork: None,
            pdu,
            auth,
            transaction: None,
            redacts: None,
            profile: None,
            relates_to: None,
            now_ms: self.now_ms(),
            forgets_left: false,
        };
        (before, new)
    }

    /// The id of an event that a user of a peer has sent to a room.
    pub(crate) async fn receive(
        &self,
        peer: &Peer,
        of: (&str, &str),
        kind: (&str, Option<&str>),
        content: &Value,
    ) -> String {
        let store = &self.server.state.store;
        let (before, new) = self.made(peer, of, kind, content).await;
        let event_id = new.pdu.event_id().to_string();
        let write = Write::new("receive").locking([before.room.0]);
        let appending = store.clone();
        store
            .db()
            .write_placed(
                write,
                |_: &mut Tx<'_>| Ok::<_, AppendError>(()),
                move |tx, positions, ()| {
                    appending
                        .append(tx, positions, &before, &new, here())
                        .map(drop)
                },
            )
            .await
            .unwrap();
        event_id
    }

    /// Those of the keys that the room's state has, with how an event names what holds them.
    async fn auth_events(
        &self,
        room: &RoomSnapshot,
        keys: Vec<(Box<str>, Box<str>)>,
    ) -> (Vec<(Box<str>, Box<str>)>, Vec<EventReference>) {
        let store = self.server.state.store.clone();
        let state = room.state.clone();
        let read = move |tx: &mut Tx<'_>| {
            let mut held = Vec::new();
            for (kind, key) in keys {
                let numbers = store
                    .names()
                    .kind(tx, &kind)?
                    .zip(store.names().key(tx, &key)?);
                let entry = numbers.and_then(|(kind, key)| state.get(kind, key).copied());
                if let Some(entry) = entry {
                    let event = store.event_read(tx, entry.event)?.unwrap();
                    held.push(((kind, key), EventReference::of(&event.pdu)));
                }
            }
            Ok::<_, starling_db::Error>(held)
        };
        let held = self.server.state.store.db().read("auth_events", read).await;
        held.unwrap().into_iter().unzip()
    }

    /// The id of the event with which a peer's user becomes this.
    pub(crate) async fn member(
        &self,
        peer: &Peer,
        room: &str,
        user: &str,
        membership: &str,
    ) -> String {
        let content = json!({ "membership": membership });
        let key = ("m.room.member", Some(user));
        self.receive(peer, (room, user), key, &content).await
    }
}

/// Lets time pass. It stands still for that moment only: else it would jump whenever a database is waited for.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// One segment of a path, or one value of a query.
pub(crate) fn segment(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The bytes of an event as a value.
pub(crate) fn value(event: &Pdu) -> Value {
    serde_json::from_slice(event.json()).unwrap()
}

/// The ids of events of a room of version 4 and later, by their bytes.
pub(crate) fn ids(version: starling_events::RoomVersion, pdus: &Value) -> Vec<String> {
    let pdus = pdus.as_array().unwrap_or_else(|| panic!("no list: {pdus}"));
    let id = |pdu: &Value| {
        let pdu = Pdu::parse(version, pdu.to_string().as_bytes()).unwrap();
        pdu.event_id().to_string()
    };
    pdus.iter().map(id).collect()
}

/// Texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}
