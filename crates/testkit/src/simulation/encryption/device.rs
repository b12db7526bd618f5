//! A device of a user: it asks its server for what its cryptography needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use starling_runtime::{Chance, Clock};

use super::ledger::{DeviceName, Ledger, Life};
use super::machine::{Machine, Received, TrackedList};
use super::view::RoomView;
use crate::simulation::client::segment;
use crate::simulation::host::Host;

/// The server is to have so many one-time keys of each device: few, so that they run out.
pub(super) const ONE_TIME_KEYS: usize = 5;

/// A fallback key that was used is replaced, but not sooner after the one before, in milliseconds: what was encrypted with that
/// may be on its way.
const FALLBACK_KEPT_MS: i64 = 600_000;

/// Why something isn't done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server went down, or is down.
    Broken,
    /// The device is logged out.
    Ended,
}

/// A request that is repeated until it is answered, with the same transaction id.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) path: String,
    pub(super) body: Value,
    /// The message that it sends, if it does.
    pub(super) message: Option<usize>,
}

/// What a client keeps on its disk. It changes at once when an answer was read.
pub(super) struct Kept {
    pub(super) machine: Machine,
    pub(super) since: Option<String>,
    /// When the sync was asked for that was read last.
    pub(super) known_ms: i64,
    pub(super) rooms: BTreeMap<String, RoomView>,
    pub(super) pending: VecDeque<Pending>,
    pub(super) next_txn: u64,
    pub(super) fallback_made_ms: i64,
    pub(super) key_count: usize,
    /// Messages that can't be decrypted yet, by their events, with their rooms.
    pub(super) waiting: BTreeMap<String, (String, Value)>,
    pub(super) decrypted: BTreeMap<String, u64>,
}

impl Kept {
    fn read_waiting(&mut self) {
        for (event_id, (room_id, content)) in std::mem::take(&mut self.waiting) {
            self.read_message((&event_id, &room_id), &content);
        }
    }

    fn read_events(&mut self, room_id: &str, events: Option<&Value>) {
        for event in events.and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
            let event_id = text("event_id");
            if text("type") == "m.room.encrypted" && !self.decrypted.contains_key(event_id) {
                let content = event.get("content").unwrap_or(&Value::Null);
                self.read_message((event_id, room_id), content);
            }
        }
    }

    fn read_message(&mut self, (event_id, room_id): (&str, &str), content: &Value) {
        if let Ok(content) = self.machine.decrypt(room_id, content) {
            let number = content.get("number").and_then(Value::as_u64);
            self.decrypted
                .insert(event_id.to_owned(), number.unwrap_or(0));
        } else {
            let waiting = (room_id.to_owned(), content.clone());
            self.waiting.insert(event_id.to_owned(), waiting);
        }
    }
}

/// See above.
pub(super) struct Device {
    pub(super) name: DeviceName,
    pub(super) host: Arc<Host>,
    pub(super) host_number: usize,
    token: String,
    pub(super) chance: Chance,
    pub(super) clock: Clock,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) kept: Mutex<Kept>,
}

impl Device {
    /// A device, by the answer to its login.
    pub(super) fn new(
        (host, host_number): (&Arc<Host>, usize),
        login: &Value,
        (chance, clock): (Chance, Clock),
        ledger: &Arc<Mutex<Ledger>>,
    ) -> Self {
        let text = |key: &str| {
            let text = login.get(key).and_then(Value::as_str);
            text.expect("a text").to_owned()
        };
        let name = (text("user_id"), text("device_id"));
        let machine = Machine::new(name.clone(), chance.clone());
        let life = Life {
            uploaded_ms: None,
            ends_ms: None,
            ended_ms: None,
        };
        let kept = Kept {
            machine,
            since: None,
            known_ms: 0,
            rooms: BTreeMap::new(),
            pending: VecDeque::new(),
            next_txn: 0,
            fallback_made_ms: 0,
            key_count: 0,
            waiting: BTreeMap::new(),
            decrypted: BTreeMap::new(),
        };
        let mut noted = ledger.lock();
        noted.counts.devices += 1;
        noted.devices.insert(name.clone(), life);
        Self {
            name,
            host: Arc::clone(host),
            host_number,
            token: text("access_token"),
            chance,
            clock,
            ledger: Arc::clone(ledger),
            kept: Mutex::new(kept),
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.name.0
    }

    /// The good answer; nothing when it was refused.
    pub(super) async fn call(
        &self,
        (method, path): (Method, &str),
        body: Option<Value>,
    ) -> Result<Option<Value>, Stop> {
        let (status, answer) = self.ask((method.clone(), path), body).await?;
        if status == StatusCode::OK {
            return Ok(Some(answer));
        }
        let mut ledger = self.ledger.lock();
        ledger.counts.refused += 1;
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            ledger.fail(format!(
                "{:?}: {method} {path}: {status} {answer}",
                self.name
            ));
        }
        Ok(None)
    }

    pub(super) async fn ask(
        &self,
        (method, path): (Method, &str),
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Stop> {
        let path = format!("/_matrix/client/v3/{path}");
        let asked = self
            .host
            .ask((method, &path), Some(&self.token), body)
            .await;
        let Ok((status, answer)) = asked else {
            self.ledger.lock().counts.broken += 1;
            return Err(Stop::Broken);
        };
        if answer.get("errcode") == Some(&json!("M_UNKNOWN_TOKEN")) {
            self.end();
            return Err(Stop::Ended);
        }
        Ok((status, answer))
    }

    /// The device is logged out: nobody else may have said so.
    fn end(&self) {
        let now_ms = self.clock.now_ms();
        let mut ledger = self.ledger.lock();
        let is_excused = ledger.restored.is_some();
        let is_known = ledger.devices.get_mut(&self.name).is_some_and(|life| {
            let is_known = life.ends_ms.is_some();
            life.ends_ms.get_or_insert(now_ms);
            is_known
        });
        if !is_known && !is_excused {
            ledger.fail(format!("{:?} was logged out by nobody", self.name));
        }
    }

    /// Asks what is new, for at most so long. Whether there was anything to be done.
    pub(super) async fn sync(&self, patience_ms: u64) -> Result<bool, Stop> {
        let since = self.kept.lock().since.clone();
        let since = since.map_or_else(String::new, |since| format!("&since={}", segment(&since)));
        let asked_ms = self.clock.now_ms();
        let path =
            format!("sync?timeout={patience_ms}&use_state_after=true&set_presence=offline{since}");
        let Some(answer) = self.call((Method::GET, &path), None).await? else {
            return Ok(false);
        };
        let places = [
            "to_device/events",
            "device_lists/changed",
            "device_lists/left",
            "rooms/join",
            "rooms/leave",
            "rooms/invite",
        ];
        let is_some = |place: &str| {
            let found = answer.pointer(&format!("/{place}"));
            found.is_some_and(|it| *it != json!([]) && *it != json!({}))
        };
        let is_news = places.into_iter().any(is_some);
        self.read_sync(&answer, asked_ms);
        if is_news {
            self.host
                .note(&format!("{:?} reads {}", self.name, summary(&answer)));
        }
        Ok(is_news)
    }

    fn read_sync(&self, answer: &Value, asked_ms: i64) {
        let kept = &mut *self.kept.lock();
        let events = answer
            .pointer("/to_device/events")
            .and_then(Value::as_array);
        for event in events.into_iter().flatten() {
            self.read_to_device(kept, event);
        }
        let rooms = |kind: &str| {
            let rooms = answer.get("rooms").and_then(|rooms| rooms.get(kind));
            rooms.and_then(Value::as_object).into_iter().flatten()
        };
        for (room_id, room) in rooms("join") {
            let view = kept.rooms.entry(room_id.clone()).or_default();
            view.apply(room.pointer("/state_after/events"));
            kept.read_events(room_id, room.pointer("/timeline/events"));
        }
        // Who has left may be invited again by now.
        for (room_id, room) in rooms("leave").chain(rooms("invite")) {
            kept.rooms.remove(room_id);
            kept.machine.discard_session(room_id);
            kept.read_events(room_id, room.pointer("/timeline/events"));
        }
        let users = |kind: &str| {
            let users = answer.pointer(&format!("/device_lists/{kind}"));
            users.and_then(Value::as_array).into_iter().flatten()
        };
        for user in users("changed").filter_map(Value::as_str) {
            if let Some(list) = kept.machine.lists.get_mut(user) {
                list.is_outdated = true;
            }
        }
        for user in users("left").filter_map(Value::as_str) {
            kept.machine.lists.remove(user);
        }
        let readers = kept.rooms.values().filter(|room| room.rotation.is_some());
        let readers: BTreeSet<String> = readers.flat_map(RoomView::readers).collect();
        for user in readers {
            let lists = &mut kept.machine.lists;
            lists.entry(user).or_insert_with(TrackedList::unknown);
        }
        let count = answer.pointer("/device_one_time_keys_count/signed_curve25519");
        let count = count.and_then(Value::as_u64).unwrap_or(0);
        kept.key_count = usize::try_from(count).unwrap_or(usize::MAX);
        kept.machine.fill_up(kept.key_count, ONE_TIME_KEYS);
        let unused = answer.get("device_unused_fallback_key_types");
        let is_unused = unused == Some(&json!(["signed_curve25519"]));
        let now_ms = self.clock.now_ms();
        if !is_unused && now_ms - kept.fallback_made_ms > FALLBACK_KEPT_MS {
            kept.machine.renew_fallback();
            kept.fallback_made_ms = now_ms;
        }
        let next = answer.get("next_batch").and_then(Value::as_str);
        kept.since = next.map(str::to_owned);
        kept.known_ms = asked_ms;
    }

    fn read_to_device(&self, kept: &mut Kept, event: &Value) {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str);
        let sender = text("/sender").unwrap_or_default();
        let device = text("/content/org.example.device").unwrap_or_default();
        let from = (sender.to_owned(), device.to_owned());
        let number = event.pointer("/content/org.example.number");
        let number = number.and_then(Value::as_u64).unwrap_or(0);
        let is_next = self
            .ledger
            .lock()
            .arrive((from.clone(), self.name.clone()), number);
        let content = event.get("content").unwrap_or(&Value::Null);
        match kept.machine.receive(sender, content) {
            Received::RoomKey(_) => kept.read_waiting(),
            // Who has read it before can't read it again.
            Received::Undecryptable(_) if !is_next => {}
            Received::Undecryptable(why) => self.ledger.lock().fail(format!(
                "{:?} can't decrypt message {number} of {from:?}: {why}",
                self.name
            )),
        }
    }

    /// Reads all of a room's history.
    pub(super) async fn page_back(&self, room_id: &str) -> Result<(), Stop> {
        let mut from = String::new();
        loop {
            let room = segment(room_id);
            let path = format!("rooms/{room}/messages?dir=b&limit=100{from}");
            let Some(page) = self.call((Method::GET, &path), None).await? else {
                return Ok(());
            };
            self.kept.lock().read_events(room_id, page.get("chunk"));
            let Some(end) = page.get("end").and_then(Value::as_str) else {
                return Ok(());
            };
            from = format!("&from={}", segment(end));
        }
    }

    /// Encrypted rooms that the user is in, as far as this device knows.
    pub(super) fn encrypted_rooms(&self) -> Vec<String> {
        let kept = self.kept.lock();
        let rooms = kept.rooms.iter();
        let encrypted = rooms.filter(|(_, room)| room.rotation.is_some());
        encrypted.map(|(id, _)| id.clone()).collect()
    }

    /// The user isn't in a room any longer, though no sync has told so.
    pub(super) fn forget_room(&self, room_id: &str) {
        self.kept.lock().rooms.remove(room_id);
    }

    /// Who has joined a room, as far as this device knows.
    pub(super) fn joined_in(&self, room_id: &str) -> BTreeSet<String> {
        let kept = self.kept.lock();
        let room = kept.rooms.get(room_id);
        room.map(RoomView::joined).unwrap_or_default()
    }
}

/// What an answer to a sync tells, for the trace.
fn summary(answer: &Value) -> String {
    let keys = |place: &str| {
        let rooms = answer.pointer(place).and_then(Value::as_object);
        rooms
            .into_iter()
            .flatten()
            .map(|(id, _)| id.clone())
            .collect::<Vec<String>>()
    };
    let messages = answer
        .pointer("/to_device/events")
        .and_then(Value::as_array);
    format!(
        "{} messages, joined {:?}, left {:?}, lists {}",
        messages.map_or(0, Vec::len),
        keys("/rooms/join"),
        keys("/rooms/leave"),
        answer.get("device_lists").unwrap_or(&Value::Null),
    )
}
