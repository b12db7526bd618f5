//! The hostile server. It is a whole server, so it is in rooms and knows what others know; but its answers are changed
//! ([`Liar`]), and beside what it does as a server should, it sends what no server should ([`Attacker`]).
//!
//! It tells all the same lies of the state at an event: servers that are told different things by whom they have to ask
//! may see different rooms from then on, and the protocol has no way to find that out.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use ruma_common::{OwnedEventId, OwnedServerName, OwnedUserId, RoomId, ServerName};
use serde_json::{Value, json};
use starling_db::{Error, Tx};
use starling_events::request_auth::sign_request;
use starling_events::sign::sign_event;
use starling_events::{CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion};
use starling_outbound::Request;
use starling_runtime::Chance;
use starling_stateres::auth_types;
use starling_store::rooms::RoomSnapshot;

use super::client::segment;
use super::host::Host;
use super::model::Model;
use super::network::Network;

/// The largest depth that canonical JSON can say.
const HUGE_DEPTH: i64 = (1 << 53) - 1;

/// What messages say that are signed by another server than that of their sender.
pub(super) const FORGED: &str = "forged";

/// The topic that the hostile server sets where its users have not yet joined.
pub(super) const NOT_ALLOWED: &str = "not allowed";

/// So large are huge answers.
const HUGE_BYTES: usize = 1_100_000;

/// Changes what the hostile server answers.
pub(super) struct Liar {
    chance: Chance,
    /// Set while the network is at its worst; afterwards it says what it knows.
    is_lying: Mutex<bool>,
    /// How many answers were changed.
    lies: Mutex<u64>,
}

impl Liar {
    pub(super) fn new(chance: Chance) -> Self {
        Self {
            chance,
            is_lying: Mutex::new(false),
            lies: Mutex::default(),
        }
    }

    pub(super) fn lie(&self, is_lying: bool) {
        *self.is_lying.lock() = is_lying;
    }

    fn is_lying(&self) -> bool {
        *self.is_lying.lock()
    }

    pub(super) fn lies(&self) -> u64 {
        *self.lies.lock()
    }

    /// What is told instead of an honest answer.
    pub(super) fn answer(&self, uri: &str, honest: (StatusCode, Bytes)) -> (StatusCode, Bytes) {
        if !self.is_lying() || uri.starts_with("/_matrix/key/") {
            return honest;
        }
        let told = match self.chance.within(0..10) {
            0 => (StatusCode::OK, Bytes::from_static(b"{}")),
            1 => (StatusCode::OK, Bytes::from_static(b"[[[[\"nothing")),
            2 => (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
            3 => (StatusCode::OK, Bytes::from(huge())),
            4..=7 => self.twisted(uri, &honest),
            _ => return honest,
        };
        *self.lies.lock() += 1;
        told
    }

    /// The answer with wrong events in it, and, where that can be found out, without some of the right ones.
    fn twisted(&self, uri: &str, honest: &(StatusCode, Bytes)) -> (StatusCode, Bytes) {
        let Ok(mut body) = serde_json::from_slice::<Value>(&honest.1) else {
            return honest.clone();
        };
        let is_told_to_all = uri.contains("/state") || uri.contains("/send_join");
        let lists = [
            "pdus",
            "events",
            "auth_chain",
            "state",
            "pdu_ids",
            "auth_chain_ids",
        ];
        for list in lists {
            let list = body.get_mut(list).and_then(Value::as_array_mut);
            let Some(list) = list else { continue };
            if is_told_to_all && !uri.contains("/send_join") {
                list.retain(|entry| !hash_of(uri, entry).is_multiple_of(8));
            } else if !is_told_to_all {
                list.retain(|_| self.chance.within(0..8) != 0);
            }
            add_wrong(list);
            if self.chance.within(0..2) == 0 {
                list.reverse();
            }
        }
        if let Some(event) = body.get_mut("event").and_then(Value::as_object_mut) {
            event.insert("sender".to_owned(), json!("@ann:server0.example"));
        }
        (honest.0, Bytes::from(body.to_string()))
    }
}

/// Adds what is no event, or none of the sender's, and one twice.
fn add_wrong(list: &mut Vec<Value>) {
    let Some(mut one) = list.first().cloned() else {
        return;
    };
    if one.is_string() {
        list.push(json!("$nothing-of-this-room"));
        list.push(json!("not an id"));
        return;
    }
    list.push(one.clone());
    if let Some(event) = one.as_object_mut() {
        event.insert(
            "content".to_owned(),
            json!({ "membership": "join", "x": 1 }),
        );
        event.insert("depth".to_owned(), json!(HUGE_DEPTH));
    }
    list.push(one);
    list.push(json!({ "type": "m.room.message", "sender": 7 }));
    list.push(Value::Null);
}

fn huge() -> String {
    format!("{{\"pdus\":[\"{}\"]}}", "x".repeat(HUGE_BYTES))
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// The same for the same question and entry.
fn hash_of(uri: &str, entry: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    uri.hash(&mut hasher);
    entry.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Sends what no server should.
pub(super) struct Attacker {
    pub(super) host: Arc<Host>,
    pub(super) network: Arc<Network>,
    pub(super) victims: Vec<OwnedServerName>,
    pub(super) liar: Arc<Liar>,
    pub(super) model: Arc<Mutex<Model>>,
    pub(super) chance: Chance,
}

/// What an event is made of.
struct Claim<'a> {
    sender: OwnedUserId,
    kind: &'a str,
    state_key: Option<&'a str>,
    content: Value,
}

impl Attacker {
    /// Attacks as long as the server lies.
    pub(super) async fn attack(self) {
        let attacker = Arc::new(self);
        while attacker.liar.is_lying() {
            let pause = Duration::from_millis(attacker.chance.within(300..2_000));
            tokio::time::sleep(pause).await;
            let attacker = Arc::clone(&attacker);
            tokio::spawn(async move { attacker.attack_once().await });
        }
    }

    async fn attack_once(&self) {
        let Some(victim) = self.one_of(&self.victims).cloned() else {
            return;
        };
        let rooms = self.model.lock().rooms.clone();
        let Some(room) = self.one_of(&rooms) else {
            return;
        };
        self.model.lock().attacks += 1;
        match self.chance.within(0..12) {
            0 => self.send_nonsense(&victim).await,
            1 => self.ask_for_secrets(&victim, &room.id).await,
            2 => self.tell_of_others(&victim, &room.id).await,
            _ => self.send_events(&victim, &room.id).await,
        }
    }

    fn one_of<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
        let number = self.chance.within(0..count);
        all.get(usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn user(&self) -> OwnedUserId {
        let id = format!("@eve:{}", self.host.name());
        OwnedUserId::try_from(id).expect("a user id")
    }

    /// A transaction.
    async fn send(&self, victim: &ServerName, pdus: Vec<Value>, edus: Vec<Value>) {
        let body = json!({
            "origin": self.host.name(),
            "origin_server_ts": 1,
            "pdus": pdus,
            "edus": edus,
        });
        // Sometimes one that was there already.
        let txn_id = match self.chance.within(0..3) {
            0 => "1".to_owned(),
            _ => self.chance.token(8),
        };
        let uri = format!("/_matrix/federation/v1/send/{txn_id}");
        let request = Request::put(uri, body.to_string().into_bytes());
        self.ask(victim, request).await;
    }

    /// The answer to a request that is signed with the hostile server's own key.
    async fn ask(&self, victim: &ServerName, mut request: Request) -> Option<Value> {
        let identity = &self.host.identity;
        request.authorization = Some(sign_request(
            (
                request.method.as_str(),
                &request.uri,
                request.body.as_deref(),
            ),
            (&identity.server_name, victim),
            &identity.signing_key,
        ));
        let asked = self.network.ask(&identity.server_name, victim, request);
        let answer = asked.await.ok()?;
        if answer.status == StatusCode::INTERNAL_SERVER_ERROR {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            let failure = format!("{victim} fails on what the hostile server sends: {body}");
            self.model.lock().failures.push(failure);
        }
        let is_good = answer.status == StatusCode::OK;
        is_good.then(|| serde_json::from_slice(&answer.body).expect("JSON"))
    }

    /// What isn't even a transaction, or is one of somebody else, or holds too much.
    async fn send_nonsense(&self, victim: &ServerName) {
        let uri = "/_matrix/federation/v1/send/nonsense";
        let nothing = json!({ "type": "m.room.message", "room_id": 3, "depth": -1 });
        match self.chance.within(0..5) {
            0 => drop(self.ask(victim, Request::put(uri, &b"[1,2"[..])).await),
            1 => self.send(victim, vec![nothing; 51], Vec::new()).await,
            2 => self.send(victim, Vec::new(), vec![nothing; 101]).await,
            3 => {
                let pdus = vec![nothing, json!("x"), json!(null)];
                self.send(victim, pdus, vec![json!([])]).await;
            }
            _ => {
                // In the name of another server, with a signature that isn't its own.
                let Some(other) = self.one_of(&self.victims) else {
                    return;
                };
                let key = &self.host.identity.signing_key;
                let mut request = Request::put(uri, &b"{\"edus\":[],\"pdus\":[]}"[..]);
                let signed = ("PUT", uri, request.body.as_deref());
                request.authorization = Some(sign_request(signed, (other, victim), key));
                let name = &self.host.identity.server_name;
                let answer = self.network.ask(name, victim, request).await;
                if answer.is_ok_and(|answer| answer.status == StatusCode::OK) {
                    let failure = format!("{victim} believes a request that {other} hasn't signed");
                    self.model.lock().failures.push(failure);
                }
            }
        }
    }

    /// Asks for rooms that it was never in.
    async fn ask_for_secrets(&self, victim: &ServerName, room_id: &RoomId) {
        let (was_ever_in, event) = {
            let model = self.model.lock();
            let room = model.rooms.iter().find(|room| room.id == *room_id);
            let event = room.and_then(|room| self.one_of(&room.events).cloned());
            (model.hostile_in.contains(room_id), event)
        };
        let Some(event) = event else { return };
        let (room, event) = (segment(room_id.as_str()), segment(event.as_str()));
        let uri = match self.chance.within(0..5) {
            0 => format!("backfill/{room}?v={event}&limit=100"),
            1 => format!("state_ids/{room}?event_id={event}"),
            2 => format!("state/{room}?event_id={event}"),
            3 => format!("event_auth/{room}/{event}"),
            _ => format!("event/{event}"),
        };
        let request = Request::get(format!("/_matrix/federation/v1/{uri}"));
        let told = self.ask(victim, request).await;
        if told.is_some() && !was_ever_in && !self.model.lock().hostile_in.contains(room_id) {
            let failure = format!("{victim} tells {uri} to a server that was never in the room");
            self.model.lock().failures.push(failure);
        }
    }

    /// Says what users of other servers do.
    async fn tell_of_others(&self, victim: &ServerName, room_id: &RoomId) {
        let user = format!("@ann:{victim}");
        let typing = json!({
            "edu_type": "m.typing",
            "content": { "room_id": room_id, "user_id": user, "typing": true },
        });
        let users = json!({ user.clone(): { "data": { "ts": 1 }, "event_ids": ["$x"] } });
        let receipt = json!({
            "edu_type": "m.receipt",
            "content": { room_id.as_str(): { "m.read": users } },
        });
        let presence = json!({
            "edu_type": "m.presence",
            "content": { "push": [{ "user_id": user, "presence": "online" }] },
        });
        let edus = vec![typing, receipt, presence, json!({ "edu_type": 5 })];
        self.send(victim, Vec::new(), edus).await;
    }

    /// Sends events that are wrong in one way or another, among right ones.
    async fn send_events(&self, victim: &ServerName, room_id: &RoomId) {
        let Some(room) = self.room(room_id).await else {
            return;
        };
        let version = room.version;
        let text = |body: &str| json!({ "msgtype": "m.text", "body": body });
        let own = |content| Claim {
            sender: self.user(),
            kind: "m.room.message",
            state_key: None,
            content,
        };
        let mut pdus = Vec::new();
        match self.chance.within(0..9) {
            // Of a user of another server, signed with the own key.
            0 => {
                let sender = OwnedUserId::try_from(format!("@ann:{victim}")).expect("a user id");
                let claim = Claim {
                    sender,
                    ..own(text(FORGED))
                };
                pdus.push(self.made(&room, claim, |_| {}).await);
            }
            // With a hash that isn't its own.
            1 => {
                let event = self.made(&room, own(text("as hashed")), |_| {}).await;
                pdus.push(event.map(|(pdu, mut json)| {
                    put(&mut json, "content", json!({ "body": "as sent" }));
                    (pdu, json)
                }));
            }
            2 => {
                let deep = |it: &mut EventBuilder| it.depth = HUGE_DEPTH;
                pdus.push(self.made(&room, own(text("deep")), deep).await);
            }
            // What is there already.
            3 => {
                for pdu in self.latest(&room).await {
                    let json = serde_json::from_slice(pdu.json()).expect("JSON");
                    pdus.push(Some((pdu, json)));
                }
            }
            // After events that never come.
            4 => {
                let after = self.unknown_event(version);
                let lost = |it: &mut EventBuilder| it.prev_events = vec![after.clone()];
                pdus.push(self.made(&room, own(text("lost")), lost).await);
            }
            5 => pdus.extend(self.cycle(&room).await),
            // As if the room had just begun.
            6 => {
                let early = self.early(&room).await;
                let back = |it: &mut EventBuilder| it.prev_events.clone_from(&early);
                let claim = Claim {
                    kind: "m.room.topic",
                    state_key: Some(""),
                    ..own(json!({ "topic": NOT_ALLOWED }))
                };
                pdus.push(self.made(&room, claim, back).await);
            }
            // Allowed by nothing, or by what allows something else.
            7 => {
                let bare = |it: &mut EventBuilder| it.auth_events.truncate(1);
                pdus.push(self.made(&room, own(text("bare")), bare).await);
            }
            // What its users may not.
            _ => {
                let id = self.user();
                let levels = json!({ "users": { id.as_str(): 100 }, "users_default": 100 });
                let claim = Claim {
                    kind: "m.room.power_levels",
                    state_key: Some(""),
                    ..own(levels)
                };
                pdus.push(self.made(&room, claim, |_| {}).await);
            }
        }
        let pdus = pdus.into_iter().flatten().map(|(_, json)| json);
        self.send(victim, pdus.collect(), Vec::new()).await;
    }

    /// The room, as the hostile server knows it: if it knows nothing, as if it were a room of its own.
    async fn room(&self, room_id: &RoomId) -> Option<Arc<RoomSnapshot>> {
        let store = self.host.store()?;
        let room = store.room_num(room_id).await.ok()??;
        let room = store.room(room).await.ok()??;
        (!room.extremities.is_empty()).then_some(room)
    }

    /// An event that follows the room's last ones, as changed; and as JSON.
    async fn made(
        &self,
        room: &Arc<RoomSnapshot>,
        claim: Claim<'_>,
        change: impl FnOnce(&mut EventBuilder),
    ) -> Option<(Pdu, Value)> {
        let content = CanonicalObject::from_serialize(&claim.content).ok()?;
        let keys: Vec<(String, String)> = auth_types(
            room.version,
            claim.kind,
            &claim.sender,
            claim.state_key,
            content.as_bytes(),
        )
        .into_iter()
        .map(|(kind, key)| (kind.to_owned(), key.into_owned()))
        .collect();
        let depth = room.extremities.iter().map(|last| last.depth).max();
        let mut builder = EventBuilder {
            room_id: Some(room.room_id.clone()),
            sender: claim.sender,
            kind: claim.kind.to_owned(),
            state_key: claim.state_key.map(str::to_owned),
            content,
            redacts: None,
            origin_server_ts: i64::try_from(self.chance.within(0..2_000_000)).unwrap_or(0)
                + 1_700_000_000_000,
            depth: depth.unwrap_or(0).saturating_add(1).min(HUGE_DEPTH),
            prev_events: room
                .extremities
                .iter()
                .map(|last| last.reference.clone())
                .collect(),
            auth_events: self.auth_events(room, keys).await,
        };
        change(&mut builder);
        let identity = &self.host.identity;
        let pdu = builder.build(room.version, &identity.server_name, &identity.signing_key);
        let pdu = pdu.ok()?;
        let json = serde_json::from_slice(pdu.json()).expect("JSON");
        Some((pdu, json))
    }

    async fn auth_events(
        &self,
        room: &Arc<RoomSnapshot>,
        keys: Vec<(String, String)>,
    ) -> Vec<EventReference> {
        let Some(store) = self.host.store() else {
            return Vec::new();
        };
        let (reading, room) = (store.clone(), Arc::clone(room));
        let read = move |tx: &mut Tx<'_>| {
            let mut events = Vec::new();
            for (kind, key) in keys {
                let numbers = reading.names().kind(tx, &kind)?;
                let numbers = numbers.zip(reading.names().key(tx, &key)?);
                let entry = numbers.and_then(|(kind, key)| room.state_event(kind, key));
                if let Some(number) = entry {
                    let event = reading.event_read(tx, number)?;
                    events.extend(event.map(|event| EventReference::of(&event.pdu)));
                }
            }
            Ok::<_, Error>(events)
        };
        store
            .db()
            .read("auth_events", read)
            .await
            .unwrap_or_default()
    }

    /// Some of the room's last events.
    async fn latest(&self, room: &RoomSnapshot) -> Vec<Pdu> {
        let Some(store) = self.host.store() else {
            return Vec::new();
        };
        let numbers: Vec<_> = room.extremities.iter().map(|last| last.num).collect();
        let events = store.events_load(&numbers).await.unwrap_or_default();
        events.iter().map(|event| event.pdu.clone()).collect()
    }

    /// The room's first events.
    async fn early(&self, room: &Arc<RoomSnapshot>) -> Vec<EventReference> {
        let create = ("m.room.create".to_owned(), String::new());
        self.auth_events(room, vec![create]).await
    }

    /// An event that there isn't.
    fn unknown_event(&self, version: RoomVersion) -> EventReference {
        let name = self.chance.token(43);
        let id = match version {
            RoomVersion::V1 | RoomVersion::V2 => format!("${name}:{}", self.host.name()),
            _ => format!("${name}"),
        };
        EventReference {
            event_id: OwnedEventId::try_from(id).expect("an event id"),
            hash: Some([7; 32]),
        }
    }

    /// Two events that follow each other, where events state their own ids; else one that follows nothing known.
    async fn cycle(&self, room: &Arc<RoomSnapshot>) -> Vec<Option<(Pdu, Value)>> {
        let claim = || Claim {
            sender: self.user(),
            kind: "m.room.message",
            state_key: None,
            content: json!({ "msgtype": "m.text", "body": "round and round" }),
        };
        let other = self.unknown_event(room.version);
        let id = other.event_id.clone();
        let first = self
            .made(room, claim(), |it| it.prev_events = vec![other])
            .await;
        let Some((first, json)) = first else {
            return Vec::new();
        };
        let back = EventReference::of(&first);
        let second = self
            .made(room, claim(), |it| it.prev_events = vec![back])
            .await;
        let second = second.and_then(|(_, mut json)| {
            json.get("event_id")?;
            put(&mut json, "event_id", json!(id));
            let bytes = CanonicalObject::from_serialize(&json).ok()?;
            let pdu = Pdu::parse(room.version, bytes.as_bytes()).ok()?;
            let identity = &self.host.identity;
            let signed = sign_event(&pdu, &identity.server_name, &identity.signing_key).ok()?;
            let json = serde_json::from_slice(signed.json()).expect("JSON");
            Some((signed, json))
        });
        vec![Some((first, json)), second]
    }
}
