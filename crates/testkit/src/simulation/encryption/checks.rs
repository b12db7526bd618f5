//! What must hold in the end: who must be able to read what.

use std::collections::BTreeSet;

use super::ledger::{DeviceName, Ledger, Message, server_of};

/// Why a device can't read a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The user had not joined, or the device was not there, when the message was sent.
    Before,
    /// The sender's server had not heard yet of the device, or of its user's coming.
    UnknownYet,
    /// The device's server could not be asked for its keys.
    Unreachable,
    /// The key was lost when a copy of a database was put back.
    Lost,
    /// It must be able to.
    Failure(String),
}

impl Ledger {
    /// Why `device` can't read what it can't read.
    pub(super) fn verdict(&self, message: &Message, device: &DeviceName) -> Verdict {
        if message.given.contains(device) {
            return self.given_and_unread(message, device);
        }
        let (user, from) = (&device.0, server_of(&message.sender.0));
        let is_lost = self.is_lost(message.known_ms, message, device);
        let is_local = server_of(user) == from;
        if !message.joined.contains(user) {
            let place = (message.room_id.clone(), user.clone());
            let was_in = self.was_in(&place, message.known_ms, message.encrypted_ms);
            return if is_local && was_in == Some(true) && !is_lost {
                Verdict::Failure("its user had joined, and the sender was not told".to_owned())
            } else if was_in == Some(true) {
                Verdict::UnknownYet
            } else {
                Verdict::Before
            };
        }
        let uploaded = self.devices.get(device).and_then(|life| life.uploaded_ms);
        if uploaded.is_none_or(|uploaded_ms| uploaded_ms >= message.known_ms) {
            return Verdict::Before;
        }
        if message.unasked.contains(user) || message.unclaimed.contains(device) {
            return Verdict::Unreachable;
        }
        let told = self.told.get(&(from.to_owned(), device.clone()));
        if !is_local && told.is_none_or(|told_ms| *told_ms >= message.known_ms) {
            return Verdict::UnknownYet;
        }
        if is_lost {
            return Verdict::Lost;
        }
        Verdict::Failure("the sender's server knew of it, and the sender was not told".to_owned())
    }

    fn given_and_unread(&self, message: &Message, device: &DeviceName) -> Verdict {
        let given = (message.session_id.clone(), device.clone());
        let given_ms = self.keys_given.get(&given).copied().unwrap_or(0);
        if self.is_lost(given_ms, message, device) {
            return Verdict::Lost;
        }
        Verdict::Failure("it was given the key".to_owned())
    }

    /// Whether what went from the sender to a device at a time may be lost with a database in whose place a copy was put back.
    fn is_lost(&self, at_ms: i64, message: &Message, device: &DeviceName) -> bool {
        self.restored.as_ref().is_some_and(|it| {
            let is_of = |user: &str| server_of(user) == it.server;
            (is_of(&message.sender.0) || is_of(&device.0)) && at_ms < it.at_ms
        })
    }

    /// Counts what a device can't read.
    pub(super) fn judge(&mut self, device: &DeviceName, unread: &[(String, String)]) {
        for (event_id, text) in unread {
            let Some(message) = self.find(event_id, text).cloned() else {
                let is_empty = text.is_empty();
                self.counts.before += u64::from(is_empty);
                if !is_empty {
                    self.fail(format!("{device:?} sees {event_id}, which nobody has sent"));
                }
                continue;
            };
            match self.verdict(&message, device) {
                Verdict::Before => self.counts.before += 1,
                Verdict::UnknownYet => self.counts.unknown_yet += 1,
                Verdict::Unreachable => self.counts.unreachable += 1,
                Verdict::Lost => self.counts.lost += 1,
                Verdict::Failure(why) => {
                    self.counts.undecryptable += 1;
                    let Message {
                        number,
                        sender,
                        room_id,
                        known_ms,
                        ..
                    } = &message;
                    self.fail(format!(
                        "{device:?} can't decrypt message {number} of {sender:?} in {room_id}, who knew \
                         what was known at {known_ms}: {why}"
                    ));
                }
            }
        }
    }

    /// Nobody was given the key of a message of whom the sender's server knew that they were not there any longer.
    pub(super) fn check_given(&mut self) {
        let mut found = Vec::new();
        for message in &self.messages {
            let from = server_of(&message.sender.0);
            for device in &message.given {
                let is_local = server_of(&device.0) == from;
                let life = self.devices.get(device);
                let ended = life.and_then(|life| life.ended_ms);
                let known = if is_local {
                    ended
                } else {
                    self.told_gone
                        .get(&(from.to_owned(), device.clone()))
                        .copied()
                };
                let is_known = known.is_some_and(|known_ms| known_ms < message.known_ms);
                if is_known && !message.unasked.contains(&device.0) && self.restored.is_none() {
                    found.push(format!(
                        "message {} was encrypted for {device:?}, which was gone",
                        message.number
                    ));
                }
                let place = (message.room_id.clone(), device.0.clone());
                let was_in = self.was_in(&place, message.known_ms, message.encrypted_ms);
                if is_local && was_in == Some(false) && message.joined.contains(&device.0) {
                    found.push(format!(
                        "message {} was encrypted for {device:?}, whose user had left",
                        message.number
                    ));
                }
            }
        }
        self.failures.extend(found);
    }

    /// What was said after all was quiet is read by all devices of all who are in the room.
    pub(super) fn check_last(
        &mut self,
        device: &DeviceName,
        rooms: &BTreeSet<String>,
        decrypted: &BTreeSet<u64>,
    ) {
        let last = self.messages.iter();
        let last = last.filter(|it| it.is_last && it.event_id.is_some() && it.sender != *device);
        let unread =
            last.filter(|it| rooms.contains(&it.room_id) && !decrypted.contains(&it.number));
        for message in unread.cloned().collect::<Vec<Message>>() {
            let (number, sender) = (message.number, &message.sender);
            self.counts.undecryptable += 1;
            self.fail(format!(
                "{device:?} hasn't read message {number} of {sender:?}, which was sent when all was quiet"
            ));
            self.failed_rooms.insert(message.room_id);
        }
    }
}
