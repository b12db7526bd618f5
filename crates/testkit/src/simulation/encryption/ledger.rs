//! What is known of a run from outside: which devices there are, who was in which room, which messages were sent and to whom
//! their keys were given, and what servers told each other of devices.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::simulation::network::Kept;

/// A device: its user and its id.
pub(super) type DeviceName = (String, String);

/// A device's time, in milliseconds since 1970.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name")]
pub(super) struct Life {
    /// When it was told that its keys are uploaded.
    pub(super) uploaded_ms: Option<i64>,
    /// When somebody began to end it.
    pub(super) ends_ms: Option<i64>,
    /// When that was acknowledged.
    pub(super) ended_ms: Option<i64>,
}

/// Somebody came to a room, or went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) is_join: bool,
    pub(super) begun_ms: i64,
    /// When it was acknowledged, if it was.
    pub(super) done_ms: Option<i64>,
}

/// An encrypted message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) room_id: String,
    pub(super) sender: DeviceName,
    pub(super) session_id: String,
    /// The sender knew what its server knew then: when it asked for the last sync that it has read.
    pub(super) known_ms: i64,
    pub(super) encrypted_ms: i64,
    /// Its event, when the server has acknowledged it.
    pub(super) event_id: Option<String>,
    /// Whether all was quiet before it was sent.
    pub(super) is_last: bool,
    /// Who had joined, as the sender knew.
    pub(super) joined: BTreeSet<String>,
    /// The devices that were given the key.
    pub(super) given: BTreeSet<DeviceName>,
    /// Users whose devices could not be asked for.
    pub(super) unasked: BTreeSet<String>,
    /// Devices whose one-time keys could not be asked for.
    pub(super) unclaimed: BTreeSet<DeviceName>,
}

/// A server that was put back to a copy of its database.
#[derive(Debug, Clone)]
pub(super) struct Restored {
    pub(super) server: String,
    /// When the copy was made, and when it was put back, in milliseconds since 1970.
    pub(super) copied_ms: i64,
    pub(super) at_ms: i64,
}

/// What was seen and is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Encrypted messages that were acknowledged.
    pub messages: u64,
    /// Messages, each for each device that has decrypted it.
    pub decrypted: u64,
    /// Those that can't be decrypted and must be: none.
    pub undecryptable: u64,
    /// Those that can't be decrypted by who was not there when they were sent.
    pub before: u64,
    /// Those for which the sender's server could not know yet of the device, or of its user's coming.
    pub unknown_yet: u64,
    /// Those for which the device's server could not be asked.
    pub unreachable: u64,
    /// Those whose keys were lost when a copy of a database was put back.
    pub lost: u64,
    /// Rooms, each for a device, of which servers say different things of who is in them: what is said there is not looked at.
    pub parted: u64,
    /// Messages from device to device.
    pub to_device: u64,
    /// Those that came again after a copy was put back.
    pub to_device_again: u64,
    /// Those that were lost when it was.
    pub to_device_lost: u64,
    /// One-time keys that were given out.
    pub claimed: u64,
    /// Fallback keys that were given out.
    pub fallback: u64,
    /// Lists of devices that were compared.
    pub lists: u64,
    /// Devices, also those that are gone.
    pub devices: u64,
    /// Clients that were killed.
    pub kills: u64,
    /// Crashes of servers.
    pub crashes: u64,
    /// How often servers were parted.
    pub partitions: u64,
    /// Requests during which the server went down.
    pub broken: u64,
    /// Requests that were refused.
    pub refused: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) counts: Counts,
    pub(super) failures: Vec<String>,
    /// Rooms whose events say what went wrong.
    pub(super) failed_rooms: BTreeSet<String>,
    pub(super) devices: BTreeMap<DeviceName, Life>,
    pub(super) moves: BTreeMap<(String, String), Vec<Move>>,
    pub(super) messages: Vec<Message>,
    /// By ciphertext.
    by_text: BTreeMap<String, usize>,
    /// When a device was given the key of a session.
    pub(super) keys_given: BTreeMap<(String, DeviceName), i64>,
    /// The number of the last message between two devices.
    arrived: BTreeMap<(DeviceName, DeviceName), u64>,
    /// One-time keys that were offered, and those that were given out.
    pub(super) offered: BTreeMap<DeviceName, BTreeSet<String>>,
    pub(super) given_out: BTreeMap<DeviceName, BTreeSet<String>>,
    /// When a server has first acknowledged that it was told of a device, and of its end.
    pub(super) told: BTreeMap<(String, DeviceName), i64>,
    pub(super) told_gone: BTreeMap<(String, DeviceName), i64>,
    pub(super) restored: Option<Restored>,
}

impl Ledger {
    /// A server was put back to a copy. What was there since the copy was made is gone: devices, and who came and went.
    pub(super) fn put_back(&mut self, restored: Restored) {
        let is_of = |user: &str| server_of(user) == restored.server;
        for ((user, _), life) in &mut self.devices {
            let was_there = life.uploaded_ms.is_some_and(|it| it < restored.copied_ms);
            if is_of(user) && !was_there {
                life.ends_ms.get_or_insert(restored.at_ms);
            }
        }
        self.moves.retain(|(_, user), _| !is_of(user));
        self.restored = Some(restored);
    }

    pub(super) fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    pub(super) fn message(&mut self, ciphertext: String, message: Message) -> usize {
        let number = self.messages.len();
        self.by_text.insert(ciphertext, number);
        self.messages.push(message);
        number
    }

    /// The message of an event with this ciphertext; it has none where another server has shown nothing but that there is an
    /// event.
    pub(super) fn find(&self, event_id: &str, ciphertext: &str) -> Option<&Message> {
        if let Some(number) = self.by_text.get(ciphertext) {
            return self.messages.get(*number);
        }
        self.messages
            .iter()
            .find(|it| it.event_id.as_deref() == Some(event_id))
    }

    /// A message from device to device came: it must be the next one. Whether it hasn't come before.
    pub(super) fn arrive(&mut self, (from, to): (DeviceName, DeviceName), number: u64) -> bool {
        self.counts.to_device += 1;
        let is_excused = self
            .restored
            .as_ref()
            .is_some_and(|it| server_of(&from.0) == it.server || server_of(&to.0) == it.server);
        let last = self.arrived.entry((from.clone(), to.clone())).or_default();
        let expected = *last + 1;
        *last = (*last).max(number);
        let is_new = number >= expected;
        if number != expected && is_excused {
            self.counts.to_device_again += u64::from(!is_new);
            self.counts.to_device_lost += number.saturating_sub(expected);
        } else if number != expected {
            self.fail(format!(
                "message {number} from {from:?} to {to:?} came instead of {expected}"
            ));
        }
        is_new
    }

    /// Whether a user was in a room at a time, as their server has acknowledged; nothing when something was under way between
    /// then and `until_ms`.
    pub(super) fn was_in(
        &self,
        place: &(String, String),
        at_ms: i64,
        until_ms: i64,
    ) -> Option<bool> {
        let moves = self.moves.get(place)?;
        let is_done = |it: &Move| it.done_ms.is_some_and(|done_ms| done_ms < at_ms);
        let last = moves.iter().rposition(is_done)?;
        let later = moves.get(last + 1..).unwrap_or_default();
        let before = moves.get(..last).unwrap_or_default();
        let last = moves.get(last)?;
        // What a killed client has begun, or a server that got no answer, may be done at any time later.
        let is_over = |it: &Move| it.done_ms.is_some();
        let is_steady = before.iter().all(is_over) && later.iter().all(|it| it.begun_ms > until_ms);
        is_steady.then_some(last.is_join)
    }

    /// Notes the keys of a server's users in the answer to a claim: none must come twice.
    pub(super) fn note_claimed(&mut self, answer: &Value, server: &str) {
        let users = answer.get("one_time_keys").and_then(Value::as_object);
        for (user, devices) in users.into_iter().flatten() {
            if server_of(user) != server {
                continue;
            }
            for (device, keys) in devices.as_object().into_iter().flatten() {
                for (id, key) in keys.as_object().into_iter().flatten() {
                    let id = id.rsplit(':').next().unwrap_or(id);
                    let device = (user.clone(), device.clone());
                    self.note_claimed_key(&device, id, key);
                }
            }
        }
    }

    fn note_claimed_key(&mut self, device: &DeviceName, id: &str, key: &Value) {
        if key.get("fallback") == Some(&Value::Bool(true)) {
            self.counts.fallback += 1;
            return;
        }
        self.counts.claimed += 1;
        let is_new = self
            .given_out
            .entry(device.clone())
            .or_default()
            .insert(id.to_owned());
        if !is_new {
            self.fail(format!(
                "the one-time key {id} of {device:?} was given out twice"
            ));
        }
    }

    /// Takes in what servers have answered each other.
    pub(super) fn read(&mut self, kept: &[Kept]) {
        for answered in kept {
            if answered.uri.ends_with("/user/keys/claim") {
                let answer = serde_json::from_slice(&answered.answer).unwrap_or_default();
                self.note_claimed(&answer, answered.to.as_str());
            } else {
                let request = serde_json::from_slice(&answered.request).unwrap_or_default();
                self.note_told(answered.to.as_str(), &request, answered.at_ms);
            }
        }
    }

    fn note_told(&mut self, server: &str, transaction: &Value, at_ms: i64) {
        let restored = self.restored.as_ref();
        // What a server was told that was put back since, it doesn't know.
        if restored.is_some_and(|it| it.server == server && at_ms < it.at_ms) {
            return;
        }
        let edus = transaction.get("edus").and_then(Value::as_array);
        for edu in edus.into_iter().flatten() {
            if edu.get("edu_type").and_then(Value::as_str) != Some("m.device_list_update") {
                continue;
            }
            let text = |key: &str| {
                let text = edu.get("content").and_then(|it| it.get(key));
                text.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let of = (server.to_owned(), (text("user_id"), text("device_id")));
            let is_gone = edu.pointer("/content/deleted").is_some();
            let told = if is_gone {
                &mut self.told_gone
            } else {
                &mut self.told
            };
            told.entry(of).or_insert(at_ms);
        }
    }
}

pub(super) fn server_of(user: &str) -> &str {
    user.split_once(':').map_or("", |(_, server)| server)
}
