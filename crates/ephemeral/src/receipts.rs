//! Up to where a user has read: receipts, and the fully-read marker.
//! <https://spec.matrix.org/v1.19/client-server-api/#receipts>,
//! <https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers>

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, RoomId};
use starling_bus::Topic;
use starling_db::{Positions, Tx, Write};
use starling_store::account_data::{AccountData, account_data_read, account_data_set};
use starling_store::accounts::lock_key;
use starling_store::events::{Event, Status};
use starling_store::memberships::{Membership, membership_read};
use starling_store::receipts::{ReceiptKey, Sent, receipt_read, receipt_wait};
use starling_store::tokens::Place;
use starling_store::{RoomNum, Store, UserNum};

use crate::Ephemeral;

/// The type of account data that the fully-read marker is.
const FULLY_READ: &str = "m.fully_read";

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
    Database(#[from] starling_db::Error),
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
        let waits = steps.iter().any(|step| matches!(step, Step::Wait(..)));
        let room = waits.then_some(marking.sent.room.0);
        let write = Write::new("receipts").locking(room.into_iter().chain([lock_key(user)]));
        let (working, bus) = (marking.clone(), self.memory.bus.clone());
        let work = move |tx: &mut Tx<'_>| working.settle(tx, &steps);
        let place = move |tx: &mut Tx<'_>, positions: &mut Positions, steps: Vec<Step>| {
            let topics = marking.write(tx, positions, &steps)?;
            let (bus, position) = (bus.clone(), positions.last());
            if !topics.is_empty() {
                tx.after_commit(move || bus.advance(position, &topics));
            }
            Ok(())
        };
        self.store().db().write_placed(write, work, place).await?;
        self.note_activity(user);
        Ok(())
    }
}

impl Marking {
    /// Refuses what may not be, and leaves out what would change nothing.
    fn check(&self, tx: &mut Tx<'_>, markers: &[Marker]) -> Result<Vec<Step>, ReceiptError> {
        let membership = membership_read(tx, self.sent.user, self.sent.room)?;
        if membership.is_none_or(|row| row.membership != Membership::Join) {
            return Err(ReceiptError::NotInRoom);
        }
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
    fn event(&self, tx: &mut Tx<'_>, id: &EventId) -> Result<Option<Placed>, starling_db::Error> {
        let event = self.store.event_by_id(tx, id)?;
        let event = event.filter(|it| it.room == self.sent.room && it.status == Status::Accepted);
        Ok(event.and_then(|event| event.place.map(|place| (event, place))))
    }

    /// Where the fully-read marker is, if that can be told.
    fn fully_read(&self, tx: &mut Tx<'_>) -> Result<Option<Place>, starling_db::Error> {
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
