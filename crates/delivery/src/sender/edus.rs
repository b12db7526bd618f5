//! What one server is told and is no event: receipts, typing, presence. The newest of each; when it is written, it is
//! written as it is then.
//! <https://spec.matrix.org/v1.19/server-server-api/#edus>

use std::collections::BTreeMap;
use std::sync::Arc;

use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};
use starling_bus::Presence;
use starling_store::outgoing::OutgoingReceipt;
use starling_store::receipts::ReceiptThread;

use super::transaction::MOST_PDUS;

/// Of receipts, so many are in a transaction.
const MOST_OF_RECEIPTS: usize = 20;

/// So many messages to devices, where there is room.
pub(super) const MOST_TO_DEVICE: usize = 40;

/// A transaction has at most so many of all.
pub(super) const MOST_OF_ALL: usize = 100;

/// With the receipts that a server has missed, and a change of a device in place of each event.
const MOST_EDUS: usize = MOST_OF_ALL - MOST_OF_RECEIPTS - MOST_PDUS;

/// So many users' presence is in one transaction.
const MOST_PRESENCES: usize = 100;

/// So much of each kind waits for one server. What comes while there is as much isn't told to it.
const MOST_WAITING: usize = 1_000;

/// A receipt of a user in a room, for a thread of it.
type ReceiptOf = (OwnedRoomId, OwnedUserId, ReceiptThread);

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Edus {
    receipts: BTreeMap<ReceiptOf, Arc<OutgoingReceipt>>,
    /// By room and user.
    typing: BTreeMap<(Arc<str>, Arc<str>), bool>,
    presences: BTreeMap<Arc<str>, Arc<Presence>>,
}

/// What goes into one transaction.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The EDUs.
    pub(super) edus: Vec<Value>,
    /// The position of the first receipt among them.
    pub(super) first_receipt: Option<i64>,
}

impl Edus {
    pub(super) fn is_empty(&self) -> bool {
        self.receipts.is_empty() && self.typing.is_empty() && self.presences.is_empty()
    }

    pub(super) fn add_receipt(&mut self, receipt: &Arc<OutgoingReceipt>) {
        let key = (
            receipt.room_id.clone(),
            receipt.receipt.user_id.clone(),
            receipt.receipt.key.thread.clone(),
        );
        add(&mut self.receipts, key, Arc::clone(receipt));
    }

    pub(super) fn add_typing(&mut self, room_id: &Arc<str>, user_id: &Arc<str>, is_typing: bool) {
        let key = (Arc::clone(room_id), Arc::clone(user_id));
        add(&mut self.typing, key, is_typing);
    }

    pub(super) fn add_presence(&mut self, presence: &Arc<Presence>) {
        let key = Arc::clone(&presence.user_id);
        add(&mut self.presences, key, Arc::clone(presence));
    }

    /// The position of the first receipt.
    pub(super) fn first_receipt(&self) -> Option<i64> {
        self.receipts.values().map(|it| it.position).min()
    }

    /// Takes as much as a transaction holds.
    pub(super) fn take(&mut self, now_ms: i64) -> Told {
        let first_receipt = self.first_receipt();
        let mut edus = self.take_receipts();
        edus.extend(self.take_presences(now_ms));
        while edus.len() < MOST_EDUS
            && let Some(((room_id, user_id), is_typing)) = self.typing.pop_first()
        {
            edus.push(json!({
                "edu_type": "m.typing",
                "content": { "room_id": &*room_id, "user_id": &*user_id, "typing": is_typing },
            }));
        }
        Told {
            edus,
            first_receipt,
        }
    }

    /// In one EDU a user has one receipt in a room: those for further threads are in further EDUs.
    fn take_receipts(&mut self) -> Vec<Value> {
        let taken = std::mem::take(&mut self.receipts);
        let mut edus: Vec<BTreeMap<&RoomId, BTreeMap<&UserId, Value>>> = Vec::new();
        let mut left = Vec::new();
        for (key, receipt) in &taken {
            let (room, user): (&RoomId, &UserId) = (&key.0, &key.1);
            let has_none = |edu: &BTreeMap<&RoomId, BTreeMap<&UserId, Value>>| {
                edu.get(room).is_none_or(|users| !users.contains_key(user))
            };
            let at = edus.iter().position(has_none).unwrap_or(edus.len());
            if at == MOST_OF_RECEIPTS {
                left.push((key.clone(), Arc::clone(receipt)));
                continue;
            }
            if at == edus.len() {
                edus.push(BTreeMap::new());
            }
            if let Some(edu) = edus.get_mut(at) {
                edu.entry(room).or_default().insert(user, entry_of(receipt));
            }
        }
        self.receipts.extend(left);
        let content = |rooms: BTreeMap<&RoomId, BTreeMap<&UserId, Value>>| {
            let rooms = rooms.into_iter();
            let rooms: BTreeMap<&RoomId, Value> = rooms
                .map(|(room, users)| (room, json!({ "m.read": users })))
                .collect();
            json!({ "edu_type": "m.receipt", "content": rooms })
        };
        edus.into_iter().map(content).collect()
    }

    fn take_presences(&mut self, now_ms: i64) -> Option<Value> {
        let mut push = Vec::new();
        while push.len() < MOST_PRESENCES
            && let Some((_, presence)) = self.presences.pop_first()
        {
            let mut entry = json!({
                "user_id": &*presence.user_id,
                "presence": presence.state.as_str(),
                // Who has done nothing yet is here since now.
                "last_active_ago": presence.active_ago(now_ms).unwrap_or(0),
                "currently_active": presence.is_active().unwrap_or(false),
            });
            if let (Some(status), Some(entry)) = (&presence.status, entry.as_object_mut()) {
                entry.insert("status_msg".to_owned(), Value::from(&**status));
            }
            push.push(entry);
        }
        (!push.is_empty()).then(|| json!({ "edu_type": "m.presence", "content": { "push": push } }))
    }
}

fn entry_of(receipt: &OutgoingReceipt) -> Value {
    let receipt = &receipt.receipt;
    let data = match receipt.key.thread.id() {
        Some(thread) => json!({ "ts": receipt.sent_at, "thread_id": thread }),
        None => json!({ "ts": receipt.sent_at }),
    };
    json!({ "event_ids": [receipt.event_id], "data": data })
}

fn add<K: Ord, V>(waiting: &mut BTreeMap<K, V>, key: K, value: V) {
    if waiting.len() < MOST_WAITING || waiting.contains_key(&key) {
        waiting.insert(key, value);
    }
}
