//! Messages from device to device: <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>
//!
//! A message is on the disk before whoever sent it is told so, and stays until the device, or its server, has it. Large requests
//! are written in pieces. Each piece is noted in the transaction that writes it, so a retry goes on where the first try ended.

mod addressed;
mod received;
mod strangers;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::{OwnedServerName, OwnedUserId, ServerName, UserId};
use starling_bus::{Bus, Topic};
use starling_db::{Error, Positions, Tx, Write};
use starling_runtime::{Chance, Clock};
use starling_store::accounts::lock_key;
use starling_store::rooms::stable_hash;
use starling_store::to_device::{
    OutgoingToDevice, TargetDevice, ToDeviceMessage, outgoing_to_device_insert, to_device_devices,
    to_device_insert, to_device_received,
};
use starling_store::transactions::{Transaction, transaction_note};
use starling_store::{DeviceNum, Store, UserNum};

pub use addressed::{
    Addressed, MAX_DEVICE_ID_BYTES, MAX_MESSAGE_BYTES, MOST_ADDRESSED, Messages, MessagesError,
};
pub use strangers::MOST_STRANGERS;
pub use sweep::{MOST_WAITING, MOST_WAITING_OUTSIDE, MOST_WAITING_OUTSIDE_IN_ALL};

/// So many devices are addressed in one write.
const PIECE: usize = 250;

/// An EDU is not larger, unless it holds one message alone: other servers have bounds for what they take.
const EDU_BYTES: usize = 60_000;

/// The letters of the id of a message to another server.
const MESSAGE_ID_LETTERS: usize = 24;

/// What [`ToDevice`] works with.
#[derive(Debug)]
pub struct ToDeviceParts {
    /// The database.
    pub store: Store,
    /// Hears of messages, after their commit.
    pub bus: Bus,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids of messages.
    pub chance: Chance,
    /// The name of this server.
    pub server_name: OwnedServerName,
}

/// Messages from device to device. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ToDevice {
    parts: Arc<ToDeviceParts>,
}

/// Who sends, and what kind of message.
#[derive(Debug, Clone)]
pub struct Sending {
    /// Who sends.
    pub sender: OwnedUserId,
    /// The type of the messages.
    pub kind: String,
}

/// What tells that a request was here before.
#[derive(Debug, Clone)]
enum Known {
    /// A client's transaction.
    Transaction(Transaction),
    /// A message of another server.
    Message(OwnedServerName, String, i64),
}

/// What devices of a user get, by their ids; `*` is all others.
type Events = BTreeMap<String, Arc<[u8]>>;

/// Messages that are written together.
#[derive(Debug)]
struct Piece {
    known: Known,
    /// For devices of this server.
    local: BTreeMap<OwnedUserId, Events>,
    /// For those of others: the contents of EDUs.
    remote: Vec<(OwnedServerName, Arc<[u8]>)>,
    now_ms: i64,
}

impl ToDevice {
    /// Messages over a database.
    #[must_use]
    pub fn new(parts: ToDeviceParts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Sends messages of `device`. They are durable when this returns, but for those to more than [`MOST_STRANGERS`] servers
    /// that share no room with the sender, which are dropped. A request with a transaction id that was used before,
    /// for the same type, changes nothing.
    ///
    /// # Errors
    /// When the database fails. Then some may have been stored; to try again with the same transaction id stores the rest.
    pub async fn send(
        &self,
        (device, sending): (DeviceNum, &Sending),
        txn_id: &str,
        messages: &Messages,
    ) -> Result<(), Error> {
        let left_out = self.left_out(&sending.sender, messages).await?;
        for (number, addressed) in messages.pieces(PIECE).enumerate() {
            let path = format!("sendToDevice/{number}/{}", sending.kind);
            let known = Known::Transaction(Transaction {
                device,
                path: stable_hash(path.as_bytes()),
                txn_id: txn_id.into(),
            });
            let mut piece = self.piece(known, sending, addressed);
            piece
                .remote
                .retain(|(server, _)| !left_out.contains(server));
            self.write(piece).await?;
        }
        Ok(())
    }

    /// What is written of some of a request's messages.
    fn piece(&self, known: Known, sending: &Sending, addressed: &[Addressed]) -> Piece {
        let mut local: BTreeMap<OwnedUserId, Events> = BTreeMap::new();
        let mut remote: BTreeMap<&ServerName, Vec<&Addressed>> = BTreeMap::new();
        // Where nobody sends to other servers, nothing is kept for them.
        let has_others = self.parts.store.outgoing().is_open();
        for message in addressed {
            let server = message.user.server_name();
            if server == self.parts.server_name {
                let devices = local.entry(message.user.clone()).or_default();
                devices.insert(
                    message.device.clone(),
                    sending.event(&message.content).into(),
                );
            } else if has_others {
                remote.entry(server).or_default().push(message);
            }
        }
        let chance = &self.parts.chance;
        let remote = remote.into_iter().flat_map(|(server, messages)| {
            let edus = addressed::edus(sending, &messages, EDU_BYTES, || {
                chance.token(MESSAGE_ID_LETTERS)
            });
            edus.into_iter()
                .map(move |edu| (server.to_owned(), Arc::from(edu)))
        });
        Piece {
            known,
            local,
            remote: remote.collect(),
            now_ms: self.parts.clock.now_ms(),
        }
    }

    /// Writes a piece, unless that was done before. Devices that aren't there are passed over.
    async fn write(&self, piece: Piece) -> Result<(), Error> {
        let piece = Arc::new(piece);
        let users = self.local_users(&piece).await?;
        let write = Write::new("to_device").locking(users.values().copied().map(lock_key));
        let (parts, writing) = (Arc::clone(&self.parts), Arc::clone(&piece));
        let work = move |tx: &mut Tx<'_>| {
            if !writing.known.note(tx, writing.now_ms)? {
                return Ok(None);
            }
            let numbers: Vec<UserNum> = users.values().copied().collect();
            let devices = if numbers.is_empty() {
                Vec::new()
            } else {
                to_device_devices(tx, &numbers)?
            };
            Ok(Some(writing.resolve(&users, &devices)))
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, resolved| match resolved {
            Some(resolved) => piece.place(tx, positions, resolved, &parts),
            None => Ok(()),
        };
        let db = self.parts.store.db();
        db.write_placed(write, work, place).await
    }

    /// The numbers of those of a piece's users of this server who are known.
    async fn local_users(&self, piece: &Piece) -> Result<BTreeMap<OwnedUserId, UserNum>, Error> {
        if piece.local.is_empty() {
            return Ok(BTreeMap::new());
        }
        let users: Vec<OwnedUserId> = piece.local.keys().cloned().collect();
        let names = Arc::clone(self.parts.store.names());
        let read = move |tx: &mut Tx<'_>| {
            let numbers = names.users(tx, users.iter().map(|user| &**user))?;
            let owned = |(user, number): (&UserId, UserNum)| (user.to_owned(), number);
            Ok(numbers.into_iter().map(owned).collect())
        };
        self.parts.store.db().read("to_device_users", read).await
    }
}

impl Known {
    /// Notes that it was here. False when that is known.
    fn note(&self, tx: &mut Tx<'_>, now_ms: i64) -> Result<bool, Error> {
        match self {
            Self::Transaction(transaction) => transaction_note(tx, transaction, now_ms),
            Self::Message(origin, id, piece) => {
                to_device_received(tx, origin, (id, *piece), now_ms)
            }
        }
    }
}

impl Piece {
    /// The devices that are there, and what each gets: what is for it alone, else what is for all devices of its user.
    fn resolve(
        &self,
        users: &BTreeMap<OwnedUserId, UserNum>,
        devices: &[TargetDevice],
    ) -> Vec<(DeviceNum, Arc<[u8]>)> {
        let by_number: BTreeMap<UserNum, &Events> = users
            .iter()
            .filter_map(|(user, number)| Some((*number, self.local.get(user)?)))
            .collect();
        let message = |target: &TargetDevice| {
            let messages = by_number.get(&target.user)?;
            let event = messages.get(&target.device_id);
            let event = event.or_else(|| messages.get(addressed::ALL_DEVICES))?;
            Some((target.device, Arc::clone(event)))
        };
        devices.iter().filter_map(message).collect()
    }

    /// Writes the messages, each at a position of its own; after the commit those whom they concern wake up.
    fn place(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        resolved: Vec<(DeviceNum, Arc<[u8]>)>,
        parts: &Arc<ToDeviceParts>,
    ) -> Result<(), Error> {
        let topics: Vec<Topic> = resolved
            .iter()
            .map(|(device, _)| Topic::ToDevice(device.0))
            .collect();
        let mut messages = Vec::with_capacity(resolved.len());
        for (device, event) in resolved {
            messages.push(ToDeviceMessage {
                position: positions.give()?,
                device,
                event,
            });
        }
        to_device_insert(tx, &messages)?;
        let mut outgoing = Vec::with_capacity(self.remote.len());
        for (server, content) in &self.remote {
            outgoing.push(OutgoingToDevice {
                position: positions.give()?,
                server: server.clone(),
                content: Arc::clone(content),
            });
        }
        outgoing_to_device_insert(tx, &outgoing, self.now_ms)?;
        let last = [
            messages.last().map(|message| message.position),
            outgoing.last().map(|message| message.position),
        ];
        let Some(last) = last.into_iter().flatten().max() else {
            return Ok(());
        };
        let servers: BTreeSet<OwnedServerName> =
            outgoing.into_iter().map(|message| message.server).collect();
        let parts = Arc::clone(parts);
        tx.after_commit(move || {
            parts.bus.advance(last, &topics);
            if !servers.is_empty() {
                parts.store.outgoing().note_to_device(servers);
            }
        });
        Ok(())
    }
}
