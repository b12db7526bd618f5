//! The clients: each does by chance what people do in rooms, and notes what it was told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};
use serde_json::{Value, json};
use starling_db::Tx;
use starling_runtime::{Chance, Clock};
use starling_store::names::types;
use starling_store::room_servers::servers_in_room;

use super::host::{Broken, Host};
use super::model::{Acknowledged, KnownRoom, Model};

/// The versions of rooms.
const VERSIONS: [&str; 10] = ["1", "2", "4", "6", "7", "8", "9", "10", "11", "12"];

/// A user on their device.
pub(super) struct Client {
    pub(super) host: Arc<Host>,
    /// Which host it is.
    pub(super) number: usize,
    pub(super) user_id: String,
    token: String,
    chance: Chance,
    clock: Clock,
    model: Arc<Mutex<Model>>,
    /// Users and hosts of the whole network.
    everybody: Vec<String>,
    since: Mutex<Option<String>>,
    next_txn: Mutex<u64>,
}

/// What all clients share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) model: Arc<Mutex<Model>>,
    pub(super) clock: Clock,
    pub(super) everybody: Vec<String>,
}

impl Client {
    /// A new user of a host.
    pub(super) async fn register(
        host: &Arc<Host>,
        (number, name): (usize, &str),
        chance: Chance,
        shared: Shared,
    ) -> Self {
        let body =
            json!({ "username": name, "password": name, "auth": { "type": "m.login.dummy" } });
        let path = "/_matrix/client/v3/register";
        let answer = host.ask((Method::POST, path), None, Some(body)).await;
        let (status, body) = answer.expect("the host is up");
        assert_eq!(status, StatusCode::OK, "{body}");
        let text = |key: &str| {
            body.get(key)
                .and_then(Value::as_str)
                .expect("a text")
                .to_owned()
        };
        Self {
            host: Arc::clone(host),
            number,
            user_id: text("user_id"),
            token: text("access_token"),
            chance,
            clock: shared.clock,
            model: shared.model,
            everybody: shared.everybody,
            since: Mutex::default(),
            next_txn: Mutex::default(),
        }
    }

    /// Does as many things, one after the other.
    pub(super) async fn live(&self, actions: u64) {
        for _ in 0..actions {
            let pause = Duration::from_millis(self.chance.within(100..4_000));
            tokio::time::sleep(pause).await;
            while !self.host.is_up() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            if self.act().await == Err(Broken) {
                self.model.lock().broken += 1;
            }
        }
    }

    async fn act(&self) -> Result<(), Broken> {
        let Some(room) = self.some_room() else {
            return self.create_room().await;
        };
        let is_inside = room.inside.contains(&self.user_id);
        if !is_inside && self.chance.within(0..10) < 8 {
            return self.join(&room).await;
        }
        match self.chance.within(0..100) {
            0..=1 => self.create_room().await,
            2..=7 => self.invite(&room).await,
            8..=49 => self.say(&room.id, false).await.map(drop),
            50..=63 => self.set_something(&room.id).await,
            64..=69 => self.redact(&room).await,
            70..=73 => self.remove(&room).await,
            74..=77 => self.leave(&room.id).await,
            78..=83 => self.read_receipt(&room).await,
            84..=90 => self.page_back(&room.id).await,
            _ => self.sync().await,
        }
    }

    /// A room that this user is in, mostly.
    fn some_room(&self) -> Option<KnownRoom> {
        let model = self.model.lock();
        let own = model
            .rooms
            .iter()
            .filter(|room| room.inside.contains(&self.user_id));
        let own: Vec<&KnownRoom> = own.collect();
        let all: Vec<&KnownRoom> = model.rooms.iter().collect();
        let from = if own.is_empty() || self.chance.within(0..10) < 2 {
            all
        } else {
            own
        };
        self.one_of(&from).copied().cloned()
    }

    fn one_of<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
        let number = self.chance.within(0..count);
        all.get(usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn one_word<'a>(&self, words: &'a [&'a str]) -> &'a str {
        self.one_of(words).copied().unwrap_or_default()
    }

    /// A new room, of some version.
    pub(super) async fn create_room(&self) -> Result<(), Broken> {
        let preset = self.one_word(&["public_chat", "public_chat", "private_chat"]);
        // Not always, since it may go to a server that is down.
        let invited = self.one_of(&self.everybody);
        let invited =
            invited.filter(|user| **user != self.user_id && self.chance.within(0..2) == 0);
        let invited: Vec<String> = invited.into_iter().cloned().collect();
        let wanted = json!({
            "preset": preset,
            "room_version": self.one_word(&VERSIONS),
            "name": "A room",
            "invite": invited,
        });
        let answer = self
            .call((Method::POST, "createRoom"), Some(wanted))
            .await?;
        let Some(id) = answer.as_ref().and_then(|body| text(body, "room_id")) else {
            return Ok(());
        };
        let id = OwnedRoomId::try_from(id).expect("a room id");
        self.note_room(&id, &invited);
        for event in self.own_state_events(&id).await {
            self.acknowledge(&id, event).await;
        }
        Ok(())
    }

    fn note_room(&self, id: &RoomId, invited: &[String]) {
        let mut model = self.model.lock();
        for user in invited.iter().chain([&self.user_id]) {
            model.let_in(id, user);
        }
        model.rooms.push(KnownRoom {
            id: id.to_owned(),
            inside: [self.user_id.clone()].into(),
            invited: invited.iter().cloned().collect(),
            events: Vec::new(),
        });
    }

    async fn invite(&self, room: &KnownRoom) -> Result<(), Broken> {
        let Some(user) = self.one_of(&self.everybody).cloned() else {
            return Ok(());
        };
        self.model.lock().let_in(&room.id, &user);
        let path = format!("rooms/{}/invite", segment(room.id.as_str()));
        let body = json!({ "user_id": user });
        if self
            .call((Method::POST, &path), Some(body))
            .await?
            .is_some()
        {
            self.acknowledge_member(&room.id, &user).await;
            self.in_room(&room.id, |room| {
                room.invited.insert(user);
            });
        }
        Ok(())
    }

    /// Joins, through a few of the servers that may be in the room.
    pub(super) async fn join(&self, room: &KnownRoom) -> Result<(), Broken> {
        let inside: Vec<String> = room.inside.iter().map(|user| server_of(user)).collect();
        let mut via = String::new();
        for _ in 0..3 {
            if let Some(server) = self.one_of(&inside) {
                let mark = if via.is_empty() { '?' } else { '&' };
                via = format!("{via}{mark}via={server}");
            }
        }
        self.model.lock().let_in(&room.id, &self.user_id);
        let path = format!("join/{}{via}", segment(room.id.as_str()));
        let joined = self.call((Method::POST, &path), Some(json!({}))).await?;
        if joined.is_some() {
            self.in_room(&room.id, |room| {
                room.inside.insert(self.user_id.clone());
            });
            self.acknowledge_member(&room.id, &self.user_id).await;
        }
        Ok(())
    }

    async fn leave(&self, room_id: &RoomId) -> Result<(), Broken> {
        let unsteady = (room_id.to_owned(), self.user_id.clone());
        self.model.lock().unsteady.insert(unsteady);
        let path = format!("rooms/{}/leave", segment(room_id.as_str()));
        let left = self.call((Method::POST, &path), Some(json!({}))).await?;
        if left.is_some() {
            self.in_room(room_id, |room| {
                room.inside.remove(&self.user_id);
            });
            self.acknowledge_member(room_id, &self.user_id).await;
        }
        Ok(())
    }

    /// Kicks or bans somebody, or lets them in again.
    async fn remove(&self, room: &KnownRoom) -> Result<(), Broken> {
        let Some(user) = self.one_of(&self.everybody).cloned() else {
            return Ok(());
        };
        if user == self.user_id {
            return Ok(());
        }
        let action = self.one_word(&["kick", "ban", "unban"]);
        let unsteady = (room.id.clone(), user.clone());
        self.model.lock().unsteady.insert(unsteady);
        let path = format!("rooms/{}/{action}", segment(room.id.as_str()));
        let body = json!({ "user_id": user, "reason": "so" });
        if self
            .call((Method::POST, &path), Some(body))
            .await?
            .is_some()
        {
            self.acknowledge_member(&room.id, &user).await;
            self.in_room(&room.id, |room| {
                room.inside.remove(&user);
            });
        }
        Ok(())
    }

    /// Says something; says it again if the server went down meanwhile. The event, if it is sent.
    pub(super) async fn say(
        &self,
        room_id: &RoomId,
        is_last: bool,
    ) -> Result<Option<OwnedEventId>, Broken> {
        let number = {
            let mut next = self.next_txn.lock();
            *next += 1;
            *next
        };
        let path = format!(
            "rooms/{}/send/m.room.message/{number}",
            segment(room_id.as_str())
        );
        let text = if is_last { "the last" } else { "something" };
        let content = json!({ "msgtype": "m.text", "body": format!("{text} {number}") });
        let said = self.call((Method::PUT, &path), Some(content.clone())).await;
        let said = match said {
            Err(Broken) if self.chance.within(0..3) > 0 => {
                while !self.host.is_up() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                self.call((Method::PUT, &path), Some(content)).await?
            }
            said => said?,
        };
        Ok(self.acknowledge_answer(room_id, said.as_ref()).await)
    }

    async fn set_something(&self, room_id: &RoomId) -> Result<(), Broken> {
        let (kind, content) = match self.chance.within(0..10) {
            0..=4 => ("m.room.topic", json!({ "topic": self.chance.token(8) })),
            5..=6 => {
                let visibilities = ["shared", "joined", "invited", "world_readable", "joined"];
                let visibility = self.one_word(&visibilities);
                let content = json!({ "history_visibility": visibility });
                ("m.room.history_visibility", content)
            }
            7 => {
                let rule = self.one_word(&["public", "public", "invite", "knock"]);
                ("m.room.join_rules", json!({ "join_rule": rule }))
            }
            _ => return self.set_power(room_id).await,
        };
        let path = format!("rooms/{}/state/{kind}/", segment(room_id.as_str()));
        let set = self.call((Method::PUT, &path), Some(content)).await?;
        self.acknowledge_answer(room_id, set.as_ref()).await;
        Ok(())
    }

    /// Gives somebody a power level.
    async fn set_power(&self, room_id: &RoomId) -> Result<(), Broken> {
        let path = format!(
            "rooms/{}/state/m.room.power_levels/",
            segment(room_id.as_str())
        );
        let Some(mut levels) = self.call((Method::GET, &path), None).await? else {
            return Ok(());
        };
        let level = match self.chance.within(0..4) {
            0 => 0,
            1 => 100,
            _ => 50,
        };
        if let (Some(users), Some(user)) = (
            levels.get_mut("users").and_then(Value::as_object_mut),
            self.one_of(&self.everybody),
        ) {
            users.insert(user.clone(), json!(level));
        }
        let set = self.call((Method::PUT, &path), Some(levels)).await?;
        self.acknowledge_answer(room_id, set.as_ref()).await;
        Ok(())
    }

    async fn redact(&self, room: &KnownRoom) -> Result<(), Broken> {
        let Some(event) = self.one_of(&room.events) else {
            return Ok(());
        };
        let path = format!(
            "rooms/{}/redact/{}/{}",
            segment(room.id.as_str()),
            segment(event.as_str()),
            self.chance.token(6)
        );
        let redacted = self.call((Method::PUT, &path), Some(json!({}))).await?;
        self.acknowledge_answer(&room.id, redacted.as_ref()).await;
        Ok(())
    }

    async fn read_receipt(&self, room: &KnownRoom) -> Result<(), Broken> {
        let Some(event) = self.one_of(&room.events) else {
            return Ok(());
        };
        let room_id = segment(room.id.as_str());
        let path = format!("rooms/{room_id}/receipt/m.read/{}", segment(event.as_str()));
        self.call((Method::POST, &path), Some(json!({}))).await?;
        let path = format!("rooms/{room_id}/typing/{}", segment(&self.user_id));
        let typing = json!({ "typing": true, "timeout": 5_000 });
        self.call((Method::PUT, &path), Some(typing)).await?;
        Ok(())
    }

    /// Reads what was before.
    pub(super) async fn page_back(&self, room_id: &RoomId) -> Result<(), Broken> {
        let mut from = String::new();
        for _ in 0..4 {
            let path = format!(
                "rooms/{}/messages?dir=b&limit=20{from}",
                segment(room_id.as_str())
            );
            let Some(page) = self.call((Method::GET, &path), None).await? else {
                return Ok(());
            };
            self.note_read(room_id, page.get("chunk"));
            let Some(end) = text(&page, "end") else {
                return Ok(());
            };
            from = format!("&from={}", segment(&end));
        }
        Ok(())
    }

    /// Asks what is new.
    pub(super) async fn sync(&self) -> Result<(), Broken> {
        let since = self.since.lock().clone();
        let since = since.map_or_else(String::new, |since| format!("&since={}", segment(&since)));
        let path = format!("sync?timeout=0&set_presence=offline{since}");
        let Some(answer) = self.call((Method::GET, &path), None).await? else {
            return Ok(());
        };
        *self.since.lock() = text(&answer, "next_batch");
        for kind in ["join", "leave"] {
            let rooms = answer.get("rooms").and_then(|rooms| rooms.get(kind));
            for (room_id, room) in rooms.and_then(Value::as_object).into_iter().flatten() {
                let room_id = <&RoomId>::try_from(room_id.as_str()).expect("a room id");
                let timeline = room.get("timeline").and_then(|it| it.get("events"));
                self.note_read(room_id, timeline);
            }
        }
        Ok(())
    }

    fn note_read(&self, room_id: &RoomId, events: Option<&Value>) {
        let reader = (self.number, room_id.to_owned(), self.user_id.clone());
        let mut model = self.model.lock();
        let read = model.read.entry(reader).or_default();
        for event in events.and_then(Value::as_array).into_iter().flatten() {
            let id = text(event, "event_id").expect("an event id");
            read.insert(OwnedEventId::try_from(id).expect("an event id"));
        }
    }

    /// The good answer; nothing when it was refused.
    async fn call(
        &self,
        (method, path): (Method, &str),
        body: Option<Value>,
    ) -> Result<Option<Value>, Broken> {
        let path = format!("/_matrix/client/v3/{path}");
        let (status, answer) = self
            .host
            .ask((method.clone(), &path), Some(&self.token), body)
            .await?;
        if status == StatusCode::OK {
            return Ok(Some(answer));
        }
        let mut model = self.model.lock();
        model.refused += 1;
        if status == StatusCode::INTERNAL_SERVER_ERROR || status == StatusCode::UNAUTHORIZED {
            let user = &self.user_id;
            model
                .failures
                .push(format!("{user}: {method} {path}: {status} {answer}"));
        }
        Ok(None)
    }

    fn in_room(&self, room_id: &RoomId, change: impl FnOnce(&mut KnownRoom)) {
        let mut model = self.model.lock();
        if let Some(room) = model.rooms.iter_mut().find(|room| room.id == *room_id) {
            change(room);
        }
    }

    async fn acknowledge_answer(
        &self,
        room_id: &RoomId,
        answer: Option<&Value>,
    ) -> Option<OwnedEventId> {
        let id = answer.and_then(|body| text(body, "event_id"))?;
        let id = OwnedEventId::try_from(id).expect("an event id");
        self.in_room(room_id, |room| room.events.push(id.clone()));
        self.acknowledge(room_id, id.clone()).await;
        Some(id)
    }

    async fn acknowledge(&self, room_id: &RoomId, event_id: OwnedEventId) {
        let servers = self.host.servers_in(room_id).await;
        self.model.lock().acknowledged.push(Acknowledged {
            event_id,
            room_id: room_id.to_owned(),
            host: self.number,
            at_ms: self.clock.now_ms(),
            servers: servers.unwrap_or_default(),
        });
    }

    /// A membership was acknowledged, whose event nobody is told: it is looked up.
    async fn acknowledge_member(&self, room_id: &RoomId, user: &str) {
        let events = self.state_events(room_id).await;
        let member = events.into_iter().find(|event| {
            event.kind == "m.room.member" && event.key == user && event.sender == self.user_id
        });
        if let Some(member) = member {
            self.acknowledge(room_id, member.id).await;
        }
    }

    async fn own_state_events(&self, room_id: &RoomId) -> Vec<OwnedEventId> {
        let events = self.state_events(room_id).await.into_iter();
        let own = events.filter(|event| event.sender == self.user_id);
        own.map(|event| event.id).collect()
    }

    async fn state_events(&self, room_id: &RoomId) -> Vec<StateEvent> {
        self.host.state(room_id).await.unwrap_or_default()
    }

    /// Who the room's current state says has joined, on this host.
    pub(super) async fn is_joined(&self, room_id: &RoomId) -> bool {
        let events = self.state_events(room_id).await;
        events.iter().any(|event| {
            event.kind == "m.room.member" && event.key == self.user_id && event.is_join
        })
    }
}

/// An event of a room's current state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StateEvent {
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) id: OwnedEventId,
    pub(super) sender: String,
    pub(super) is_join: bool,
}

impl Host {
    /// The current state of a room, in order; nothing while the server is down, or when it has no such room.
    pub(super) async fn state(&self, room_id: &RoomId) -> Option<Vec<StateEvent>> {
        let store = self.store()?;
        let room = store.room_num(room_id).await.ok()??;
        let snapshot = store.room(room).await.ok()??;
        let numbers: Vec<_> = snapshot.state.iter().map(|entry| entry.event).collect();
        let mut events = Vec::new();
        for event in store.events_load(&numbers).await.ok()? {
            let content: Value = serde_json::from_slice(event.pdu.content()).expect("JSON");
            events.push(StateEvent {
                kind: event.pdu.kind().to_owned(),
                key: event.pdu.state_key().unwrap_or_default().to_owned(),
                id: event.pdu.event_id().to_owned(),
                sender: event.pdu.sender().to_string(),
                is_join: event.kind == types::MEMBER
                    && content.get("membership") == Some(&json!("join")),
            });
        }
        events.sort();
        Some(events)
    }
}

impl Host {
    /// The servers that are in a room, as far as this one knows.
    pub(super) async fn servers_in(&self, room_id: &RoomId) -> Option<BTreeSet<String>> {
        let store = self.store()?;
        let room = store.room_num(room_id).await.ok()??;
        let read = move |tx: &mut Tx<'_>| servers_in_room(tx, room);
        let servers = store.db().read("servers_in_room", read).await.ok()?;
        Some(servers.iter().map(ToString::to_string).collect())
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn server_of(user: &str) -> String {
    user.split_once(':')
        .map_or("", |(_, server)| server)
        .to_owned()
}

/// A text as a segment of a path, or a value of a query.
pub(super) fn segment(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
