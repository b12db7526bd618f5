//! What a device asks its server for and sends: keys, lists of devices, messages.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use super::device::{Device, Kept, Pending, Stop};
use super::keys::PeerKeys;
use super::ledger::{DeviceName, Ledger, Message, server_of};
use super::view::RoomView;
use crate::simulation::client::segment;

impl Device {
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
    pub(super) async fn fetch_lists(
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
}

/// Who of those who may read a room has no key of its session yet.
fn without_key(kept: &mut Kept, room_id: &str) -> BTreeMap<DeviceName, PeerKeys> {
    let Some(room) = kept.rooms.get(room_id) else {
        return BTreeMap::new();
    };
    let most = room.rotation.unwrap_or(u64::MAX);
    kept.machine.without_key(room_id, &room.readers(), most)
}

fn failed_servers(answer: &Value) -> BTreeSet<String> {
    let failures = answer.get("failures").and_then(Value::as_object);
    failures
        .into_iter()
        .flatten()
        .map(|(server, _)| server.clone())
        .collect()
}
