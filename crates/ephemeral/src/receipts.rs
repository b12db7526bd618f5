//! Up to where a user has read: receipts, and the fully-read marker.
//! <https://spec.matrix.org/v1.19/client-server-api/#receipts>,
//! <https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers>

use std::collections::BTreeSet;
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, RoomId, ServerName};
use starling_bus::Topic;
use starling_db::{Error, Positions, Tx, Write};
use starling_store::account_data::{AccountData, account_data_read, account_data_set};
use starling_store::accounts::lock_key;
use starling_store::events::{Event, Status};
use starling_store::memberships::{Membership, membership_read};
use starling_store::receipts::{ReceiptKey, Sent, receipt_read, receipt_wait};
use starling_store::tokens::Place;
use starling_store::{RoomNum, Store, UserNum};

use crate::Ephemeral;
use crate::remote::RemoteReceipt;

/// The type of account data that the fully-read marker is.
const FULLY_READ: &str = "m.fully_read";

/// So many receipts of one room are taken from another server at a time.
pub const MOST_RECEIVED: usize = 200;

/// What is moved to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The fully-read marker.
    FullyRead,
    /// A receipt.
    Receipt(ReceiptKey),
}

/// A mark, and the event that it is moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The mark.
    pub mark: Mark,
    /// The event up to which the user has read.
    pub event_id: OwnedEventId,
}

/// Why nothing was marked.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The user isn't in the room, or there is none.
    #[error("you are not in this room")]
    NotInRoom,
    /// The fully-read marker must be at an event of the room.
    #[error("there is no such event in the room")]
    UnknownEvent,
    /// The event isn't in the receipt's thread.
    #[error("the event is not in the thread of thread_id")]
    OtherThread,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// An event of a room's timeline, and its place there.
type Placed = (Arc<Event>, Place);

/// What is to be written.
#[derive(Debug, Clone)]
enum Step {
    FullyRead(OwnedEventId, Place),
    Receipt(ReceiptKey, OwnedEventId, Place),
    /// A receipt for an event that isn't here.
    Wait(ReceiptKey, OwnedEventId),
}

/// One user's marks in a room, and what is to be written of them.
type Marked = (Marking, Vec<Step>);

/// Looks at marks, and moves them.
#[derive(Debug, Clone)]
struct Marking {
    store: Store,
    sent: Sent,
}

impl Ephemeral {
    /// Moves marks of `user`, all in one transaction. What would go backwards stays where it is. A receipt for an event
    /// that isn't here is kept, and applied when the event comes.
    ///
    /// # Errors
    /// [`ReceiptError`]; nothing is changed then.
    pub async fn mark_read(
        &self,
        user: UserNum,
        room_id: &RoomId,
        markers: Vec<Marker>,
    ) -> Result<(), ReceiptError> {
        let room = self.store().room_num(room_id).await?;
        let marking = Marking {
            store: self.store().clone(),
            sent: Sent {
                user,
                room: room.ok_or(ReceiptError::NotInRoom)?,
                at_ms: self.memory.now_ms(),
            },
        };
        let checking = marking.clone();
        let check = move |tx: &mut Tx<'_>| checking.check(tx, &markers);
        let steps = self.store().db().read("receipts_check", check).await?;
        if steps.is_empty() {
            return Ok(());
        }
        self.write_marks(vec![(marking, steps)]).await?;
        self.note_activity(user);
        Ok(())
    }

    /// Applies receipts that another server sends of its users in a room, at most [`MOST_RECEIVED`]: of those who are in
    /// it, and for threads that the event is in. One for an event that isn't here waits for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receive_receipts(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        mut receipts: Vec<RemoteReceipt>,
    ) -> Result<(), Error> {
        receipts.retain(|receipt| receipt.user_id.server_name() == origin);
        receipts.truncate(MOST_RECEIVED);
        let users = receipts.iter().map(|receipt| receipt.user_id.clone());
        let Some(members) = self.members(room_id, users.collect()).await? else {
            return Ok(());
        };
        let (store, now_ms) = (self.store().clone(), self.memory.now_ms());
        let check = move |tx: &mut Tx<'_>| {
            let mut marks = Vec::new();
            for receipt in receipts {
                let Some(user) = members.users.get(&receipt.user_id) else {
                    continue;
                };
                let sent = Sent {
                    user: *user,
                    room: members.room,
                    at_ms: receipt.sent_at.clamp(0, now_ms),
                };
                let marker = Marker {
                    mark: Mark::Receipt(receipt.key),
                    event_id: receipt.event_id,
                };
                let store = store.clone();
                let marking = Marking { store, sent };
                match marking.steps(tx, &[marker]) {
                    Ok(steps) if steps.is_empty() => {}
                    Ok(steps) => marks.push((marking, steps)),
                    Err(ReceiptError::Database(error)) => return Err(error),
                    Err(_) => {}
                }
            }
            Ok(marks)
        };
        let marks = self.store().db().read("receipts_received", check).await?;
        if marks.is_empty() {
            return Ok(());
        }
        match self.write_marks(marks).await {
            Err(ReceiptError::Database(error)) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes what was found to do, all in one transaction.
    async fn write_marks(&self, marks: Vec<Marked>) -> Result<(), ReceiptError> {
        let mut locks = BTreeSet::new();
        for (marking, steps) in &marks {
            locks.insert(lock_key(marking.sent.user));
            if steps.iter().any(|step| matches!(step, Step::Wait(..))) {
                locks.insert(marking.sent.room.0);
            }
        }
        let write = Write::new("receipts").locking(locks);
        let bus = self.memory.bus.clone();
        let work = move |tx: &mut Tx<'_>| {
            let settled = marks.iter().map(|(marking, steps)| {
                let steps = marking.settle(tx, steps)?;
                Ok((marking.clone(), steps))
            });
            settled.collect::<Result<Vec<_>, ReceiptError>>()
        };
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, marks: Vec<Marked>| {
            let mut topics = Vec::new();
            for (marking, steps) in &marks {
                topics.extend(marking.write(tx, positions, steps)?);
            }
            let (bus, position) = (bus.clone(), positions.last());
            if !topics.is_empty() {
                tx.after_commit(move || bus.advance(position, &topics));
            }
            Ok(())
        };
        self.store().db().write_placed(write, work, place).await
    }
}

impl Marking {
    /// Refuses what may not be, and leaves out what would change nothing.
    fn check(&self, tx: &mut Tx<'_>, markers: &[Marker]) -> Result<Vec<Step>, ReceiptError> {
        let membership = membership_read(tx, self.sent.user, self.sent.room)?;
        if membership.is_none_or(|row| row.membership != Membership::Join) {
            return Err(ReceiptError::NotInRoom);
        }
        self.steps(tx, markers)
    }

    /// What would change something.
    fn steps(&self, tx: &mut Tx<'_>, markers: &[Marker]) -> Result<Vec<Step>, ReceiptError> {
        let mut steps = Vec::with_capacity(markers.len());
        for Marker { mark, event_id } in markers {
            let found = self.event(tx, event_id)?;
            match (mark, found) {
                (Mark::FullyRead, None) => return Err(ReceiptError::UnknownEvent),
                (Mark::FullyRead, Some((_, place))) => {
                    if self.fully_read(tx)?.is_none_or(|before| before < place) {
                        steps.push(Step::FullyRead(event_id.clone(), place));
                    }
                }
                (Mark::Receipt(key), None) => steps.push(Step::Wait(key.clone(), event_id.clone())),
                (Mark::Receipt(key), Some((event, place))) => {
                    if !self.store.receipt_fits(tx, &event, &key.thread)? {
                        return Err(ReceiptError::OtherThread);
                    }
                    let before = receipt_read(tx, self.sent.user, self.sent.room, key)?;
                    if before.is_none_or(|before| before.place < place) {
                        steps.push(Step::Receipt(key.clone(), event_id.clone(), place));
                    }
                }
            }
        }
        Ok(steps)
    }

    /// An event of the room's timeline.
    fn event(&self, tx: &mut Tx<'_>, id: &EventId) -> Result<Option<Placed>, Error> {
        let event = self.store.event_by_id(tx, id)?;
        let event = event.filter(|it| it.room == self.sent.room && it.status == Status::Accepted);
        Ok(event.and_then(|event| event.place.map(|place| (event, place))))
    }

    /// Where the fully-read marker is, if that can be told.
    fn fully_read(&self, tx: &mut Tx<'_>) -> Result<Option<Place>, Error> {
        let (user, room) = (self.sent.user, self.sent.room);
        let content = account_data_read(tx, user, room, FULLY_READ)?;
        let event_id = content.and_then(|content| {
            let content: serde_json::Value = serde_json::from_str(&content).ok()?;
            OwnedEventId::try_from(content.get("event_id")?.as_str()?).ok()
        });
        match event_id {
            Some(id) => Ok(self.event(tx, &id)?.map(|(_, place)| place)),
            None => Ok(None),
        }
    }

    /// The first step of the write: keeps the receipts whose event still isn't here; the others are left.
    fn settle(&self, tx: &mut Tx<'_>, steps: &[Step]) -> Result<Vec<Step>, ReceiptError> {
        let mut left = Vec::with_capacity(steps.len());
        for step in steps {
            let Step::Wait(key, event_id) = step else {
                left.push(step.clone());
                continue;
            };
            match self.event(tx, event_id)? {
                None => receipt_wait(tx, self.sent, key, event_id)?,
                Some((event, place)) => {
                    if !self.store.receipt_fits(tx, &event, &key.thread)? {
                        return Err(ReceiptError::OtherThread);
                    }
                    left.push(Step::Receipt(key.clone(), event_id.clone(), place));
                }
            }
        }
        Ok(left)
    }

    /// The second step: moves what is still behind, and tells whom it concerns.
    fn write(
        &self,
        tx: &mut Tx<'_>,
        positions: &mut Positions,
        steps: &[Step],
    ) -> Result<Vec<Topic>, ReceiptError> {
        let (user, room) = (self.sent.user, self.sent.room);
        let mut topics = Vec::new();
        for step in steps {
            match step {
                Step::FullyRead(event_id, place) => {
                    if self.fully_read(tx)?.is_some_and(|before| before >= *place) {
                        continue;
                    }
                    let data = AccountData {
                        room,
                        kind: FULLY_READ.to_owned(),
                        content: serde_json::json!({ "event_id": event_id }).to_string(),
                        position: positions.give()?,
                    };
                    account_data_set(tx, user, &data)?;
                    topics.push(Topic::User(user.0));
                }
                Step::Receipt(key, event_id, place) => {
                    let event = (&**event_id, *place);
                    let moved = self
                        .store
                        .receipt_advance(tx, positions, self.sent, key, event)?;
                    if moved.is_some() {
                        topics.extend(told(key, user, room));
                    }
                }
                Step::Wait(..) => {}
            }
        }
        Ok(topics)
    }
}

/// Whom a receipt concerns: what is private, only its owner.
fn told(key: &ReceiptKey, user: UserNum, room: RoomNum) -> impl Iterator<Item = Topic> {
    let is_public = key.kind == starling_store::receipts::ReceiptKind::Read;
    let own = Topic::Reading {
        user: user.0,
        room: room.0,
    };
    is_public
        .then_some(Topic::Receipts(room.0))
        .into_iter()
        .chain([own])
}
