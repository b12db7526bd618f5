//! Receiving events of other servers: each is checked where it stands, and stored with what it makes of the room.
//! <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>
//!
//! What an event cites or follows and isn't here is asked for first (`missing.rs`). Where it stands and what the rules say is
//! found out without any lock (`standing.rs`, `resolve.rs`); the write checks that the room is still as it was then. Events
//! of one room take turns, whoever sent them; those of different rooms don't wait for each other (`inbox.rs`).

mod inbox;
mod merge;
mod missing;
mod outliers;
mod resolve;
mod signed;
mod standing;
mod transaction;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ruma_common::{OwnedServerName, ServerName};
use starling_db::{Error, Write};
use starling_events::Pdu;
use starling_store::RoomNum;
use starling_store::append::{AppendError, NewEvent};
use starling_store::events::{Event, Status};
use starling_store::rooms::RoomSnapshot;
use starling_store::state_map::StateMap;
use tokio::sync::RwLockWriteGuard;

pub use inbox::MAX_WAITING;
pub(crate) use inbox::Running;
pub(crate) use merge::Merging;
pub(crate) use outliers::names_of;
use standing::{Decided, Standing, standing};
pub(crate) use standing::{merged, redaction, witnesses};
pub use transaction::Verdicts;

use crate::pipeline::{Chain, Head, Link};
use crate::remote::RemoteError;
use crate::rooms::Rooms;
use crate::upgrade::Carry;

/// How often an event is looked at again because the room moved on, or something that was missing came.
const ATTEMPTS: u32 = 32;

/// When the room has moved on so often, nothing is built on it until the event is in.
const FREE_ATTEMPTS: u32 = 6;

/// How an event was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It is part of the room.
    Accepted,
    /// The room's current state doesn't allow it: it is kept, and shown to nobody.
    SoftFailed(String),
    /// The rules don't allow it where it stands: it is remembered as rejected.
    Rejected(String),
    /// It was here already.
    Known,
}

/// Why an event was not received. It is as if it had never come.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The room isn't here.
    #[error("there is no such room")]
    UnknownRoom,
    /// What it takes to check it isn't here, and nobody is asked for it or gives it.
    #[error("{0} could not be had")]
    Missing(&'static str),
    /// The server that should have what is missing doesn't give it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The database failed.
    #[error("the event could not be stored: {0}")]
    Db(#[from] Error),
}

/// Why an event is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It was sent to this server; if something is missing, nobody is asked for it yet.
    TakeReady,
    /// It was sent to this server.
    Take,
    /// It was sent to this server, which has to pass it on.
    PassOn,
    /// Another event follows it: what it follows itself is not asked for, but the state before it.
    Fill,
}

/// What an attempt to receive an event came to.
enum Attempt {
    Received(Received),
    /// The room moved on meanwhile.
    Moved,
    /// Something is missing in the room as it is.
    Missing {
        room: Arc<RoomSnapshot>,
        auth: bool,
        prev: bool,
    },
    /// The room's policy server has to be asked.
    Unsigned {
        room: Arc<RoomSnapshot>,
    },
}

/// What was found out about an event while it is received.
#[derive(Default)]
struct Found {
    /// The state before it, as another server gave it.
    before: Option<StateMap>,
    /// Whether the room's policy server has signed it, if it was asked.
    is_recommended: Option<bool>,
    /// How often the room moved on meanwhile.
    moved: u32,
}

/// Who has the turn in which room.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    rooms: Mutex<HashMap<RoomNum, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    pub(crate) async fn take(&self, room: RoomNum) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut rooms = self.rooms.lock();
            rooms.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(rooms.entry(room).or_default())
        };
        turn.lock_owned().await
    }
}

impl Rooms {
    /// Receives an event whose signatures and hash were checked, from a server that has what it follows.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing is stored then.
    pub async fn receive(&self, origin: &ServerName, pdu: Pdu) -> Result<Received, ReceiveError> {
        self.receive_as(Purpose::Take, origin, &pdu).await
    }

    /// As [`Rooms::receive`], of an event that `origin` sent through this server: it is passed on to the others in the room.
    ///
    /// # Errors
    /// As [`Rooms::receive`].
    pub async fn receive_for(
        &self,
        origin: &ServerName,
        pdu: Pdu,
    ) -> Result<Received, ReceiveError> {
        self.receive_as(Purpose::PassOn, origin, &pdu).await
    }

    async fn receive_as(
        &self,
        purpose: Purpose,
        origin: &ServerName,
        pdu: &Pdu,
    ) -> Result<Received, ReceiveError> {
        let room = self
            .room_num(pdu.room_id(), ReceiveError::UnknownRoom)
            .await?;
        self.receive_in(room, (origin, pdu), purpose).await
    }

    /// Receives an event. It has the room's turn while it is looked at and stored, not while others are asked for what is
    /// missing.
    async fn receive_in(
        &self,
        room: RoomNum,
        (origin, pdu): (&ServerName, &Pdu),
        purpose: Purpose,
    ) -> Result<Received, ReceiveError> {
        let (names, db) = (self.store().names(), self.store().db());
        if pdu.state_key().is_some() {
            // Where branches meet, the state is resolved with the event's key before it is stored.
            names.intern_all(db, names_of(pdu)).await?;
        } else {
            names.intern_ahead(db, names_of(pdu)).await?;
        }
        let (mut asked, mut asked_auth) = (purpose == Purpose::Fill, false);
        let mut found = Found::default();
        for _ in 0..ATTEMPTS {
            let forwards_from = (purpose == Purpose::PassOn).then(|| origin.to_owned());
            let attempt = self.attempt(room, (pdu, forwards_from), &found);
            match attempt.await? {
                Attempt::Received(received) => return Ok(received),
                Attempt::Moved => found.moved += 1,
                Attempt::Missing { .. } | Attempt::Unsigned { .. }
                    if purpose == Purpose::TakeReady =>
                {
                    return Err(ReceiveError::Missing("what it follows or cites"));
                }
                // First what lies between: an event that is given for another's sake alone has no place in the room.
                Attempt::Missing {
                    room, prev: true, ..
                } if !asked => {
                    asked = true;
                    self.receive_missing(&room, origin, pdu).await?;
                }
                Attempt::Missing { auth: true, .. } if asked_auth => {
                    return Err(ReceiveError::Missing("events that allow it"));
                }
                Attempt::Missing {
                    room, auth: true, ..
                } => {
                    asked_auth = true;
                    self.fetch_auth(&room, origin, pdu).await?;
                }
                Attempt::Missing { room, .. } => {
                    found.before = Some(self.fetch_state(&room, origin, pdu).await?);
                }
                Attempt::Unsigned { room } => {
                    found.is_recommended = Some(self.is_recommended(&room, pdu).await?);
                }
            }
        }
        Err(ReceiveError::Db(Error::Unavailable(
            "the room moved on too often".to_owned(),
        )))
    }

    /// Looks where an event stands, and stores it if that can be told with what was found out before.
    async fn attempt(
        &self,
        room: RoomNum,
        (pdu, forwards_from): (&Pdu, Option<OwnedServerName>),
        found: &Found,
    ) -> Result<Attempt, ReceiveError> {
        let _turn = self.turns.take(room).await;
        let head = self.heads.head(room);
        let _closed = self.closed_after(&head, found.moved).await?;
        let snapshot = self.store().room(room).await?;
        let snapshot = snapshot.ok_or(ReceiveError::UnknownRoom)?;
        match self.standing(&snapshot, pdu, found.before.as_ref()).await? {
            Standing::Known => Ok(Attempt::Received(Received::Known)),
            Standing::Doubtful => Err(ReceiveError::Missing("a state that allows it")),
            Standing::Missing { auth, prev } => Ok(Attempt::Missing {
                room: snapshot,
                auth,
                prev,
            }),
            Standing::Decided(mut decided) => {
                if decided.status == Status::Accepted {
                    match found.is_recommended {
                        None if self.missing_signer(&snapshot, pdu).await?.is_some() => {
                            return Ok(Attempt::Unsigned { room: snapshot });
                        }
                        Some(false) => {
                            decided.soft_fail("the room's policy server has not signed it");
                        }
                        None | Some(true) => {}
                    }
                }
                decided.fork.forwards_from = forwards_from;
                let stored = self.store_decided(&snapshot, *decided).await?;
                Ok(stored.map_or(Attempt::Moved, Attempt::Received))
            }
        }
    }

    async fn standing(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        pdu: &Pdu,
        before: Option<&StateMap>,
    ) -> Result<Standing, Error> {
        let (store, snapshot) = (self.store().clone(), Arc::clone(snapshot));
        let (pdu, before) = (pdu.clone(), before.cloned());
        let read = move |tx: &mut starling_db::Tx<'_>| {
            standing(&store, tx, &snapshot, &pdu, before.as_ref())
        };
        self.store().db().scan("receive", read).await
    }

    /// Stores the event; `None` if the room has moved on.
    async fn store_decided(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        decided: Decided,
    ) -> Result<Option<Received>, Error> {
        let reason = decided.reason.clone().unwrap_or_default();
        match decided.status {
            Status::Accepted => {
                let appended = self.append_fork(snapshot, decided).await?;
                Ok(appended.then_some(Received::Accepted))
            }
            Status::SoftFailed => {
                self.store_refused(snapshot, decided).await?;
                Ok(Some(Received::SoftFailed(reason)))
            }
            Status::Rejected => {
                self.store_refused(snapshot, decided).await?;
                Ok(Some(Received::Rejected(reason)))
            }
        }
    }

    async fn append_fork(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        decided: Decided,
    ) -> Result<bool, Error> {
        let is_redacted = decided.fork.redacted_by.is_some();
        let new = NewEvent {
            pdu: if is_redacted {
                decided.pdu.redacted()
            } else {
                decided.pdu
            },
            fork: Some(Arc::new(decided.fork)),
            auth: Vec::new(),
            transaction: None,
            redacts: decided.redacts,
            profile: None,
            relates_to: decided.relates_to,
            now_ms: self.parts.clock.now_ms(),
            forgets_left: self.parts.forget_on_leave,
        };
        self.append_built(snapshot, new).await
    }

    /// Closes a room's head to who builds on it, once the room has moved on too often.
    async fn closed_after<'h>(
        &self,
        head: &'h Head,
        moved: u32,
    ) -> Result<Option<RwLockWriteGuard<'h, ()>>, Error> {
        if moved < FREE_ATTEMPTS {
            return Ok(None);
        }
        let closed = head.close().await;
        // What is queued already is part of the room first.
        self.settle().await?;
        Ok(Some(closed))
    }

    /// Appends an event to the room as it is in `snapshot`; false if it isn't like that any longer.
    pub(crate) async fn append_built(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        new: NewEvent,
    ) -> Result<bool, Error> {
        match self.append_with(snapshot, ("receive", new), None).await {
            Ok(_) => Ok(true),
            Err(AppendError::Moved) => Ok(false),
            Err(AppendError::Db(error)) => Err(error),
            Err(other @ (AppendError::Outdated | AppendError::UsedTransaction)) => {
                Err(Error::Damaged(other.to_string()))
            }
        }
    }

    /// As [`Rooms::append_built`], with what a member takes along from a room that this one replaces; `what` names the write.
    async fn append_with(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        (what, new): (&'static str, NewEvent),
        carry: Option<Carry>,
    ) -> Result<Arc<Event>, AppendError> {
        let room = snapshot.room;
        let (parts, before) = (
            Arc::clone(&self.parts),
            Chain::Committed(Arc::clone(snapshot)),
        );
        let (link, store) = (Link::default(), self.store().clone());
        let slot = self.store().db().slot().await?;
        let receipt = slot.submit(
            Write::new(what).locking([room.0]),
            |_| Ok(()),
            move |tx, positions, ()| {
                link.place_with(
                    &parts,
                    (tx, positions),
                    (&before, &new),
                    (room, carry.as_ref()),
                )
            },
            move || store.rooms().forget(room),
        );
        let appended = receipt.await;
        // What is built next is built on this.
        self.heads.forget(room);
        appended
    }

    async fn store_refused(
        &self,
        snapshot: &Arc<RoomSnapshot>,
        decided: Decided,
    ) -> Result<(), Error> {
        let (store, snapshot, pdu) = (self.store().clone(), Arc::clone(snapshot), decided.pdu);
        let write = Write::new("refused").locking([snapshot.room.0]);
        let place =
            move |tx: &mut starling_db::Tx<'_>, positions: &mut starling_db::Positions, ()| {
                let refused = (&pdu, decided.status, &decided.fork);
                store.refused_insert(tx, positions, &snapshot, refused)
            };
        let stored = self.store().db().write_placed(write, |_| Ok(()), place);
        stored.await.map(drop)
    }
}
