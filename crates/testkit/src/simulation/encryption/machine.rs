//! The cryptography of one device, as a client has it: no requests, only what is kept between them.
//!
//! All that a request changes is changed at once when its answer is here, with the sync token: so a client that is killed
//! while a request is under way finds what it had before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use starling_runtime::Chance;
use vodozemac::Curve25519PublicKey;
use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage};
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

use super::keys::{PeerKeys, account, canonical, group_session, peer_keys, set, verify};
use super::ledger::DeviceName;

const OLM: &str = "m.olm.v1.curve25519-aes-sha2";
const MEGOLM: &str = "m.megolm.v1.aes-sha2";

/// Of so many sessions with another device the oldest are forgotten.
const MOST_SESSIONS: usize = 6;

/// The devices of a user, and whether they may be others by now.
#[derive(Debug, Clone, Default)]
pub(super) struct TrackedList {
    pub(super) is_outdated: bool,
    pub(super) devices: BTreeMap<String, PeerKeys>,
}

impl TrackedList {
    /// Of somebody who is to be tracked from now on.
    pub(super) fn unknown() -> Self {
        Self {
            is_outdated: true,
            devices: BTreeMap::new(),
        }
    }
}

/// What a room's messages are encrypted with.
struct Outbound {
    session: GroupSession,
    /// Who has the key.
    given: BTreeSet<DeviceName>,
    messages: u64,
}

/// What became of a message from another device.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// It held the key of this session.
    RoomKey(String),
    /// It can't be decrypted.
    Undecryptable(String),
}

/// A message that is ready to be sent.
pub(super) struct Encrypted {
    pub(super) content: Value,
    pub(super) session_id: String,
    pub(super) ciphertext: String,
    pub(super) given: BTreeSet<DeviceName>,
}

/// See above.
pub(super) struct Machine {
    pub(super) name: DeviceName,
    chance: Chance,
    account: Account,
    pub(super) is_uploaded: bool,
    pub(super) lists: BTreeMap<String, TrackedList>,
    /// With each other device; the one that was used last is last.
    sessions: BTreeMap<DeviceName, Vec<Session>>,
    inbound: BTreeMap<String, InboundGroupSession>,
    outbound: BTreeMap<String, Outbound>,
    /// How many messages went to each device.
    sent: BTreeMap<DeviceName, u64>,
}

impl Machine {
    pub(super) fn new(name: DeviceName, chance: Chance) -> Self {
        let account = account(&chance);
        Self {
            name,
            chance,
            account,
            is_uploaded: false,
            lists: BTreeMap::new(),
            sessions: BTreeMap::new(),
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    pub(super) fn own_keys(&self) -> PeerKeys {
        PeerKeys {
            curve25519: self.account.curve25519_key().to_base64(),
            ed25519: self.account.ed25519_key().to_base64(),
        }
    }

    /// Makes one-time keys, so that the server has `target`; those that it wasn't given yet are given first.
    pub(super) fn fill_up(&mut self, count: usize, target: usize) {
        if self.account.one_time_keys().is_empty() {
            self.account
                .generate_one_time_keys(target.saturating_sub(count));
        }
    }

    /// Makes another fallback key, unless one waits to be uploaded.
    pub(super) fn renew_fallback(&mut self) {
        if self.account.fallback_key().is_empty() {
            self.account.generate_fallback_key();
        }
    }

    /// What is to be uploaded, if anything is, and the names of the one-time keys in it.
    pub(super) fn upload(&self) -> Option<(Value, BTreeSet<String>)> {
        let keys = self.account.one_time_keys();
        let keys: BTreeMap<String, _> =
            keys.iter().map(|(id, key)| (id.to_base64(), key)).collect();
        let names = keys.keys().cloned().collect();
        let with_name = |(id, key): (String, &Curve25519PublicKey), is_fallback: bool| {
            let mut object = json!({ "key": key.to_base64() });
            if is_fallback {
                set(&mut object, "fallback", json!(true));
            }
            (format!("signed_curve25519:{id}"), self.signed(object))
        };
        let fallback = self.account.fallback_key();
        let fallback = fallback.iter().map(|(id, key)| (id.to_base64(), key));
        let fallback: Map<String, Value> = fallback.map(|key| with_name(key, true)).collect();
        let one_time: Map<String, Value> =
            keys.into_iter().map(|key| with_name(key, false)).collect();
        if self.is_uploaded && one_time.is_empty() && fallback.is_empty() {
            return None;
        }
        let mut body = json!({ "one_time_keys": one_time, "fallback_keys": fallback });
        if !self.is_uploaded {
            set(&mut body, "device_keys", self.device_keys());
        }
        Some((body, names))
    }

    /// What was to be uploaded is.
    pub(super) fn uploaded(&mut self) {
        self.is_uploaded = true;
        self.account.mark_keys_as_published();
    }

    fn device_keys(&self) -> Value {
        let (user, device) = &self.name;
        let PeerKeys {
            curve25519,
            ed25519,
        } = self.own_keys();
        self.signed(json!({
            "user_id": user, "device_id": device, "algorithms": [OLM, MEGOLM],
            "keys": { format!("curve25519:{device}"): curve25519, format!("ed25519:{device}"): ed25519 },
        }))
    }

    fn signed(&self, mut object: Value) -> Value {
        let (user, device) = &self.name;
        let signature = self.account.sign(canonical(&object)).to_base64();
        let key = format!("ed25519:{device}");
        set(
            &mut object,
            "signatures",
            json!({ user: { key: signature } }),
        );
        object
    }

    /// The devices of these users that have no key of the room's session yet, after that was replaced if it had to be: it
    /// was used for `most` messages, or who has its key is not here any longer.
    pub(super) fn without_key(
        &mut self,
        room_id: &str,
        users: &BTreeSet<String>,
        most: u64,
    ) -> BTreeMap<DeviceName, PeerKeys> {
        let mut devices = BTreeMap::new();
        for user in users {
            let list = self.lists.get(user).into_iter();
            for (id, keys) in list.flat_map(|list| &list.devices) {
                let name = (user.clone(), id.clone());
                if name != self.name {
                    devices.insert(name, keys.clone());
                }
            }
        }
        let is_good = |outbound: &Outbound| {
            outbound.messages < most && outbound.given.iter().all(|name| devices.contains_key(name))
        };
        if !self.outbound.get(room_id).is_some_and(is_good) {
            let session = group_session(&self.chance);
            let own = InboundGroupSession::new(&session.session_key(), session.session_config());
            self.inbound.insert(session.session_id(), own);
            let outbound = Outbound {
                session,
                given: BTreeSet::new(),
                messages: 0,
            };
            self.outbound.insert(room_id.to_owned(), outbound);
        }
        if let Some(outbound) = self.outbound.get(room_id) {
            devices.retain(|name, _| !outbound.given.contains(name));
        }
        devices
    }

    /// Those of some devices with which there is no session.
    pub(super) fn without_session(
        &self,
        devices: &BTreeMap<DeviceName, PeerKeys>,
    ) -> BTreeSet<DeviceName> {
        let none = devices.keys().filter(|it| !self.sessions.contains_key(*it));
        none.cloned().collect()
    }

    /// A session with a device, by a key that was claimed. False if that is none of the device.
    pub(super) fn begin_session(
        &mut self,
        name: &DeviceName,
        keys: &PeerKeys,
        key: &Value,
    ) -> bool {
        let begun = (|| {
            verify(key, name, &keys.ed25519)?;
            let one_time = Curve25519PublicKey::from_base64(key.get("key")?.as_str()?).ok()?;
            let identity = Curve25519PublicKey::from_base64(&keys.curve25519).ok()?;
            let config = SessionConfig::version_1();
            let account = &self.account;
            account
                .create_outbound_session(config, identity, one_time)
                .ok()
        })();
        let is_begun = begun.is_some();
        if let Some(session) = begun {
            self.sessions.entry(name.clone()).or_default().push(session);
        }
        is_begun
    }

    /// Messages that give the key of the room's session to those of `devices` with which there is a session.
    pub(super) fn give_key(
        &mut self,
        room_id: &str,
        devices: &BTreeMap<DeviceName, PeerKeys>,
    ) -> Option<Value> {
        let outbound = self.outbound.get(room_id)?;
        let content = json!({
            "algorithm": MEGOLM, "room_id": room_id, "session_id": outbound.session.session_id(),
            "session_key": outbound.session.session_key().to_base64(),
        });
        let mut messages: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (name, keys) in devices {
            if let Some(message) = self.olm((name, keys), ("m.room_key", &content)) {
                let of_user = messages.entry(name.0.clone()).or_default();
                of_user.insert(name.1.clone(), message);
                if let Some(outbound) = self.outbound.get_mut(room_id) {
                    outbound.given.insert(name.clone());
                }
            }
        }
        (!messages.is_empty()).then(|| json!({ "messages": messages }))
    }

    fn olm(
        &mut self,
        (name, keys): (&DeviceName, &PeerKeys),
        (kind, content): (&str, &Value),
    ) -> Option<Value> {
        let own = self.own_keys();
        let session = self.sessions.get_mut(name)?.last_mut()?;
        let payload = json!({
            "type": kind, "content": content, "sender": self.name.0, "recipient": name.0,
            "recipient_keys": { "ed25519": keys.ed25519 }, "keys": { "ed25519": own.ed25519 },
        });
        let encrypted = session
            .encrypt(payload.to_string())
            .expect("an active session");
        let number = self.sent.entry(name.clone()).or_default();
        *number += 1;
        Some(json!({
            "algorithm": OLM, "sender_key": own.curve25519,
            "ciphertext": { &keys.curve25519: encrypted },
            // By these it is checked that each message comes, once and in order.
            "org.example.number": *number, "org.example.device": self.name.1,
        }))
    }

    /// A message from another device.
    pub(super) fn receive(&mut self, sender: &str, content: &Value) -> Received {
        match self.open(sender, content) {
            Ok(payload) => self.keep_room_key(&payload),
            Err(why) => Received::Undecryptable(why),
        }
    }

    fn open(&mut self, sender: &str, content: &Value) -> Result<Value, String> {
        let own = self.own_keys();
        let device = content.get("org.example.device").and_then(Value::as_str);
        let name = (sender.to_owned(), device.unwrap_or_default().to_owned());
        let key = content.get("sender_key").and_then(Value::as_str);
        let key = Curve25519PublicKey::from_base64(key.unwrap_or_default());
        let key = key.map_err(|error| error.to_string())?;
        let message = content
            .get("ciphertext")
            .and_then(|it| it.get(&own.curve25519));
        let message = message.ok_or("it is for another device")?;
        let message: OlmMessage =
            serde_json::from_value(message.clone()).map_err(|error| error.to_string())?;
        let plaintext = self.decrypt_olm(&name, key, &message)?;
        let payload: Value =
            serde_json::from_slice(&plaintext).map_err(|error| error.to_string())?;
        let is = |path: &str, wanted: &str| {
            payload.pointer(path).and_then(Value::as_str) == Some(wanted)
        };
        let is_valid = is("/sender", sender)
            && is("/recipient", &self.name.0)
            && is("/recipient_keys/ed25519", &own.ed25519);
        is_valid
            .then_some(payload)
            .ok_or_else(|| "it is not what it says".to_owned())
    }

    fn decrypt_olm(
        &mut self,
        name: &DeviceName,
        key: Curve25519PublicKey,
        message: &OlmMessage,
    ) -> Result<Vec<u8>, String> {
        let sessions = self.sessions.entry(name.clone()).or_default();
        let mut why = "there is no session".to_owned();
        for number in (0..sessions.len()).rev() {
            let Some(session) = sessions.get_mut(number) else {
                continue;
            };
            match session.decrypt(message) {
                Ok(plaintext) => {
                    let session = sessions.remove(number);
                    sessions.push(session);
                    return Ok(plaintext);
                }
                Err(error) => why = error.to_string(),
            }
        }
        let OlmMessage::PreKey(first) = message else {
            return Err(why);
        };
        let config = SessionConfig::version_1();
        let created = self.account.create_inbound_session(config, key, first);
        let created = created.map_err(|error| format!("{error}; {why}"))?;
        sessions.push(created.session);
        if sessions.len() > MOST_SESSIONS {
            sessions.remove(0);
        }
        Ok(created.plaintext)
    }

    fn keep_room_key(&mut self, payload: &Value) -> Received {
        let kept = (|| {
            let content = payload.get("content")?;
            let key = content.get("session_key")?.as_str()?;
            let key = vodozemac::megolm::SessionKey::from_base64(key).ok()?;
            let session =
                InboundGroupSession::new(&key, vodozemac::megolm::SessionConfig::version_1());
            let id = session.session_id();
            let is_older = self
                .inbound
                .get(&id)
                .is_some_and(|known| known.first_known_index() <= session.first_known_index());
            if !is_older {
                self.inbound.insert(id.clone(), session);
            }
            Some(id)
        })();
        kept.map_or_else(
            || Received::Undecryptable("it holds no room key".to_owned()),
            Received::RoomKey,
        )
    }

    /// Encrypts with the room's session, which there must be.
    pub(super) fn encrypt(&mut self, room_id: &str, content: &Value) -> Option<Encrypted> {
        let device = self.name.1.clone();
        let sender_key = self.own_keys().curve25519;
        let outbound = self.outbound.get_mut(room_id)?;
        let payload = json!({ "type": "m.room.message", "content": content, "room_id": room_id });
        let ciphertext = outbound.session.encrypt(payload.to_string()).to_base64();
        outbound.messages += 1;
        let session_id = outbound.session.session_id();
        Some(Encrypted {
            content: json!({
                "algorithm": MEGOLM, "sender_key": sender_key, "device_id": device,
                "session_id": session_id, "ciphertext": ciphertext,
            }),
            session_id,
            ciphertext,
            given: outbound.given.clone(),
        })
    }

    /// What a room's message says, if that can be read.
    pub(super) fn decrypt(&mut self, room_id: &str, content: &Value) -> Result<Value, String> {
        let text = |key: &str| content.get(key).and_then(Value::as_str).unwrap_or_default();
        let session = self.inbound.get_mut(text("session_id"));
        let session = session.ok_or("there is no key")?;
        let message = MegolmMessage::from_base64(text("ciphertext"));
        let message = message.map_err(|error| error.to_string())?;
        let decrypted = session.decrypt(&message);
        let decrypted = decrypted.map_err(|error| error.to_string())?;
        let payload: Value =
            serde_json::from_slice(&decrypted.plaintext).map_err(|error| error.to_string())?;
        let is_here = payload.get("room_id").and_then(Value::as_str) == Some(room_id);
        let content = payload.get("content").filter(|_| is_here).cloned();
        content.ok_or_else(|| "it is of another room".to_owned())
    }

    /// The user isn't here any longer: a room's session is replaced before it is used again.
    pub(super) fn discard_session(&mut self, room_id: &str) {
        self.outbound.remove(room_id);
    }

    /// Devices of a user, as the answer to a query has them. Those whose keys aren't signed are none.
    pub(super) fn set_devices(&mut self, user: &str, devices: &Value) {
        let list = self.lists.entry(user.to_owned()).or_default();
        list.is_outdated = false;
        list.devices = peer_keys(user, devices);
    }
}
