//! A device of a user: it asks its server for what its cryptography needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use starling_runtime::{Chance, Clock};

use super::ledger::{DeviceName, Ledger, Life, Message, server_of};
use super::machine::{Machine, PeerKeys, Received, TrackedList, peer_keys};
use super::view::RoomView;
use crate::simulation::client::segment;
use crate::simulation::host::Host;

/// The server is to have so many one-time keys of each device: few, so that they run out.
const ONE_TIME_KEYS: usize = 5;

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
struct Pending {
    path: String,
    body: Value,
    /// The message that it sends, if it does.
    message: Option<usize>,
}

/// What a client keeps on its disk. It changes at once when an answer was read.
struct Kept {
    machine: Machine,
    since: Option<String>,
    /// When the sync was asked for that was read last.
    known_ms: i64,
    rooms: BTreeMap<String, RoomView>,
    pending: VecDeque<Pending>,
    next_txn: u64,
    fallback_made_ms: i64,
    key_count: usize,
    /// Messages that can't be decrypted yet, by their events, with their rooms.
    waiting: BTreeMap<String, (String, Value)>,
    decrypted: BTreeMap<String, u64>,
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
    kept: Mutex<Kept>,
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

    /// Does what is to be done after a sync: uploads keys, asks for lists of devices, sends what waits to be sent.
    pub(super) async fn tend(&self) -> Result<(), Stop> {
        self.upload().await?;
        self.query().await?;
        self.flush().await
    }

    async fn upload(&self) -> Result<(), Stop> {
        let upload = self.kept.lock().machine.upload();
        let Some((body, names)) = upload else {
            return Ok(());
        };
        let offered = |ledger: &mut Ledger| {
            let offered = ledger.offered.entry(self.name.clone()).or_default();
            offered.extend(names);
        };
        offered(&mut self.ledger.lock());
        let uploaded = self.call((Method::POST, "keys/upload"), Some(body)).await?;
        if uploaded.is_none() {
            let what = format!("{:?} may not upload keys", self.name);
            self.ledger.lock().fail(what);
            return Ok(());
        }
        self.kept.lock().machine.uploaded();
        let now_ms = self.clock.now_ms();
        if let Some(life) = self.ledger.lock().devices.get_mut(&self.name) {
            life.uploaded_ms.get_or_insert(now_ms);
        }
        Ok(())
    }

    /// Asks for the devices of those whose lists may be others than they are here.
    async fn query(&self) -> Result<(), Stop> {
        let users = self.outdated();
        if users.is_empty() {
            return Ok(());
        }
        let Some((lists, failed)) = self.fetch_lists(&users).await? else {
            return Ok(());
        };
        let kept = &mut *self.kept.lock();
        for user in users
            .iter()
            .filter(|user| !failed.contains(server_of(user)))
        {
            let devices = lists.get(user).unwrap_or(&Value::Null);
            kept.machine.set_devices(user, devices);
        }
        Ok(())
    }

    fn outdated(&self) -> BTreeSet<String> {
        let kept = self.kept.lock();
        let lists = kept.machine.lists.iter();
        let outdated = lists.filter(|(_, list)| list.is_outdated);
        outdated.map(|(user, _)| user.clone()).collect()
    }

    /// What the server says of users' devices, and the servers that don't.
    async fn fetch_lists(
        &self,
        users: &BTreeSet<String>,
    ) -> Result<Option<(Value, BTreeSet<String>)>, Stop> {
        let wanted: BTreeMap<&String, Vec<&str>> =
            users.iter().map(|user| (user, Vec::new())).collect();
        let body = json!({ "device_keys": wanted });
        let answer = self.call((Method::POST, "keys/query"), Some(body)).await?;
        let Some(mut answer) = answer else {
            return Ok(None);
        };
        let failed = failed_servers(&answer);
        let lists = answer.get_mut("device_keys").map(Value::take);
        Ok(Some((lists.unwrap_or_default(), failed)))
    }

    /// Sends what waits to be sent, in order; what was sent before with the same transaction ids.
    pub(super) async fn flush(&self) -> Result<(), Stop> {
        loop {
            let Some(first) = self.kept.lock().pending.front().cloned() else {
                return Ok(());
            };
            let sent = self
                .call((Method::PUT, &first.path), Some(first.body))
                .await?;
            self.kept.lock().pending.pop_front();
            let mut ledger = self.ledger.lock();
            if let Some(number) = first.message {
                ledger.counts.messages += u64::from(sent.is_some());
                if let Some(message) = ledger.messages.get_mut(number) {
                    let id = sent.as_ref().and_then(|it| it.get("event_id")?.as_str());
                    message.event_id = id.map(str::to_owned);
                }
            } else if sent.is_none() {
                ledger.fail(format!("{:?} may not send to devices", self.name));
            }
        }
    }

    /// Encrypted rooms that the user is in, as far as this device knows.
    pub(super) fn encrypted_rooms(&self) -> Vec<String> {
        let kept = self.kept.lock();
        let rooms = kept.rooms.iter();
        let encrypted = rooms.filter(|(_, room)| room.rotation.is_some());
        encrypted.map(|(id, _)| id.clone()).collect()
    }

    /// Who has joined a room, as far as this device knows.
    pub(super) fn joined_in(&self, room_id: &str) -> BTreeSet<String> {
        let kept = self.kept.lock();
        let room = kept.rooms.get(room_id);
        room.map(RoomView::joined).unwrap_or_default()
    }

    /// Says something in an encrypted room: to all devices of who may read it, as far as this client knows them.
    pub(super) async fn say(&self, room_id: &str, is_last: bool) -> Result<(), Stop> {
        self.query().await?;
        let unclaimed = self.prepare(room_id).await?;
        self.encrypt((room_id, is_last), unclaimed);
        self.flush().await
    }

    /// Begins sessions with those devices that get the room's key next. Those whose servers can't be asked for keys.
    async fn prepare(&self, room_id: &str) -> Result<BTreeSet<DeviceName>, Stop> {
        let wanted = {
            let kept = &mut *self.kept.lock();
            let devices = without_key(kept, room_id);
            kept.machine.without_session(&devices)
        };
        if wanted.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut body: BTreeMap<&String, BTreeMap<&String, &str>> = BTreeMap::new();
        for (user, device) in &wanted {
            body.entry(user)
                .or_default()
                .insert(device, "signed_curve25519");
        }
        let body = json!({ "one_time_keys": body });
        let answer = self.call((Method::POST, "keys/claim"), Some(body)).await?;
        let answer = answer.unwrap_or_default();
        let own_server = server_of(self.user());
        self.ledger.lock().note_claimed(&answer, own_server);
        let failed = failed_servers(&answer);
        let kept = &mut *self.kept.lock();
        let devices = without_key(kept, room_id);
        let mut unclaimed = BTreeSet::new();
        for name in wanted {
            let keys = answer
                .pointer("/one_time_keys")
                .and_then(|it| it.get(&name.0)?.get(&name.1));
            let key = keys
                .and_then(Value::as_object)
                .and_then(|keys| keys.values().next());
            let is_begun = devices.get(&name).zip(key);
            let is_begun =
                is_begun.is_some_and(|(keys, key)| kept.machine.begin_session(&name, keys, key));
            if !is_begun && failed.contains(server_of(&name.0)) {
                unclaimed.insert(name);
            }
        }
        Ok(unclaimed)
    }

    /// Encrypts a message and what gives its key; both wait to be sent.
    fn encrypt(&self, (room_id, is_last): (&str, bool), unclaimed: BTreeSet<DeviceName>) {
        let kept = &mut *self.kept.lock();
        let devices = without_key(kept, room_id);
        let (room, txn) = (segment(room_id), kept.next_txn);
        let joined = kept.rooms.get(room_id).map(RoomView::joined);
        let Some(joined) = joined else { return };
        let keys = kept.machine.give_key(room_id, &devices);
        let now_ms = self.clock.now_ms();
        let mut ledger = self.ledger.lock();
        let number = u64::try_from(ledger.messages.len()).unwrap_or(u64::MAX);
        let content = json!({ "msgtype": "m.text", "body": "something", "number": number });
        let Some(encrypted) = kept.machine.encrypt(room_id, &content) else {
            return;
        };
        for name in &encrypted.given {
            let given = (encrypted.session_id.clone(), name.clone());
            ledger.keys_given.entry(given).or_insert(now_ms);
        }
        let unasked = kept.machine.lists.iter();
        let unasked = unasked.filter(|(_, list)| list.is_outdated);
        let message = Message {
            number,
            room_id: room_id.to_owned(),
            sender: self.name.clone(),
            session_id: encrypted.session_id,
            known_ms: kept.known_ms,
            encrypted_ms: now_ms,
            event_id: None,
            is_last,
            joined,
            given: encrypted.given,
            unasked: unasked.map(|(user, _)| user.clone()).collect(),
            unclaimed,
        };
        let message = ledger.message(encrypted.ciphertext, message);
        kept.pending.extend(keys.map(|body| Pending {
            path: format!("sendToDevice/m.room.encrypted/{txn}"),
            body,
            message: None,
        }));
        kept.pending.push_back(Pending {
            path: format!("rooms/{room}/send/m.room.encrypted/{}", txn + 1),
            body: encrypted.content,
            message: Some(message),
        });
        kept.next_txn += 2;
    }

    /// Compares the lists of devices that this one has, and those that its server tells, with what they are.
    pub(super) async fn check_lists(
        &self,
        truth: &BTreeMap<String, BTreeMap<String, PeerKeys>>,
    ) -> Result<(), Stop> {
        let known: BTreeMap<String, _> = {
            let kept = self.kept.lock();
            let readers = kept.rooms.values().filter(|room| room.rotation.is_some());
            let readers: BTreeSet<String> = readers.flat_map(RoomView::joined).collect();
            let lists = readers.into_iter().map(|user| {
                let list = kept.machine.lists.get(&user).cloned();
                (user, list.unwrap_or_default())
            });
            lists.collect()
        };
        let users: BTreeSet<String> = known.keys().cloned().collect();
        let Some((lists, failed)) = self.fetch_lists(&users).await? else {
            return Ok(());
        };
        let mut ledger = self.ledger.lock();
        if !failed.is_empty() {
            ledger.fail(format!(
                "{:?} is told that {failed:?} don't answer",
                self.name
            ));
        }
        for (user, list) in known {
            let told = peer_keys(&user, lists.get(&user).unwrap_or(&Value::Null));
            let is = truth.get(&user).cloned().unwrap_or_default();
            ledger.counts.lists += 1;
            let ids = |devices: &BTreeMap<String, PeerKeys>| {
                devices.keys().cloned().collect::<Vec<String>>()
            };
            if told != is {
                let (told, is) = (ids(&told), ids(&is));
                let who = &self.name;
                ledger.fail(format!(
                    "{who:?} is told that {user} has the devices {told:?}, not {is:?}"
                ));
            } else if list.is_outdated || list.devices != is {
                let (known, is) = (ids(&list.devices), ids(&is));
                let who = &self.name;
                ledger.fail(format!(
                    "{who:?} was never told that {user} has the devices {is:?}, not {known:?}"
                ));
            }
        }
        Ok(())
    }

    /// Checks how many one-time keys the server says that it has.
    pub(super) async fn check_counts(&self) -> Result<(), Stop> {
        let body = Some(json!({}));
        let answer = self.call((Method::POST, "keys/upload"), body).await?;
        let count = answer
            .as_ref()
            .and_then(|it| it.pointer("/one_time_key_counts/signed_curve25519"));
        let count = count.and_then(Value::as_u64).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let told = self.kept.lock().key_count;
        let mut ledger = self.ledger.lock();
        let number = |of: &BTreeMap<DeviceName, BTreeSet<String>>| {
            of.get(&self.name).map_or(0, BTreeSet::len)
        };
        let left = number(&ledger.offered) - number(&ledger.given_out);
        if count != told || count > left || count < ONE_TIME_KEYS {
            let who = &self.name;
            ledger.fail(format!(
                "{who:?} has {count} one-time keys, was told {told}, and {left} were never given out"
            ));
        }
        Ok(())
    }

    /// The messages that it can't decrypt, each by its event and its ciphertext, and how many it has decrypted.
    pub(super) fn read(&self) -> (Vec<(String, String)>, u64) {
        let kept = self.kept.lock();
        let text = |(id, (_, content)): (&String, &(String, Value))| {
            let text = content.get("ciphertext").and_then(Value::as_str);
            (id.clone(), text.unwrap_or_default().to_owned())
        };
        let decrypted = u64::try_from(kept.decrypted.len()).unwrap_or(u64::MAX);
        (kept.waiting.iter().map(text).collect(), decrypted)
    }

    /// The numbers of the messages that it has decrypted.
    pub(super) fn decrypted(&self) -> BTreeSet<u64> {
        self.kept.lock().decrypted.values().copied().collect()
    }
}

/// Who of those who may read a room has no key of its session yet.
fn without_key(kept: &mut Kept, room_id: &str) -> BTreeMap<DeviceName, PeerKeys> {
    let Some(room) = kept.rooms.get(room_id) else {
        return BTreeMap::new();
    };
    let most = room.rotation.unwrap_or(u64::MAX);
    kept.machine.without_key(room_id, &room.readers(), most)
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

fn failed_servers(answer: &Value) -> BTreeSet<String> {
    let failures = answer.get("failures").and_then(Value::as_object);
    failures
        .into_iter()
        .flatten()
        .map(|(server, _)| server.clone())
        .collect()
}
