//! Events that were taken in wait for their turn: one worker a room takes them one after the other.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ruma_common::{OwnedEventId, ServerName};
use starling_db::{Error, Tx, Write};
use starling_events::{Pdu, RoomVersion};
use starling_store::RoomNum;
use starling_store::inbox::{
    Waiting, inbox_count, inbox_delete, inbox_insert, inbox_put_off, inbox_read, inbox_rooms,
};

use super::{ReceiveError, Received};
use crate::rooms::Rooms;

/// At most so many events wait in a room. Who sends more is told that they were not taken; events after them lead to them
/// again.
pub const MAX_WAITING: i64 = 5_000;

/// At most so many of them came from one server.
const MAX_OF_SERVER: i64 = 500;

/// So long an event may take, with all that has to be asked for.
const PATIENCE: Duration = Duration::from_mins(2);

/// So often an event is tried that can't be checked, because another server doesn't give what it takes.
const MAX_TRIES: i64 = 100;

/// The longest pause between tries, when there are no others.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// So many are read at once.
const STEP: i64 = 50;

/// How long a worker waits when the database has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The rooms that a worker is at.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashSet<RoomNum>>);

impl Rooms {
    /// Takes events of one room in, whose signatures and hashes were checked: they are durable when this returns, and are
    /// received soon, also after a restart. Those for which there is no room are in the answer.
    ///
    /// # Errors
    /// [`ReceiveError::UnknownRoom`], or when the database fails; none is taken in then.
    pub async fn take_in(
        &self,
        origin: &ServerName,
        events: Vec<Pdu>,
    ) -> Result<BTreeMap<OwnedEventId, &'static str>, ReceiveError> {
        let Some(first) = events.first() else {
            return Ok(BTreeMap::new());
        };
        let room_id = first.room_id().to_owned();
        let room = self.room_num(&room_id, ReceiveError::UnknownRoom).await?;
        let origin = origin.to_owned();
        let write = move |tx: &mut Tx<'_>| {
            let (all, own) = inbox_count(tx, room, &origin)?;
            let mut free = (MAX_WAITING - all).min(MAX_OF_SERVER - own);
            let mut refused = BTreeMap::new();
            for pdu in &events {
                if free <= 0 {
                    refused.insert(pdu.event_id().to_owned(), "too many events wait here");
                    continue;
                }
                inbox_insert(tx, room, &origin, (pdu.event_id(), pdu.json()))?;
                free -= 1;
            }
            Ok::<_, Error>(refused)
        };
        let write = self.store().db().write(Write::new("inbox"), write);
        let refused = write.await?;
        self.work_on(room);
        Ok(refused)
    }

    /// Goes on with what waited when the server stopped.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn resume_inbox(&self) -> Result<(), Error> {
        let rooms = self.store().db().scan("inbox_rooms", inbox_rooms).await?;
        for room in rooms {
            self.work_on(room);
        }
        Ok(())
    }

    /// Starts a worker for the room, unless one is at it.
    fn work_on(&self, room: RoomNum) {
        if !self.running.0.lock().insert(room) {
            return;
        }
        let rooms = self.clone();
        tokio::spawn(async move {
            while let Some(waiting) = rooms.next_waiting(room).await {
                rooms.receive_waiting(room, waiting).await;
            }
        });
    }

    /// What waits in a room. If that is nothing, the worker is done: who takes something in from then on starts another.
    async fn next_waiting(&self, room: RoomNum) -> Option<Vec<Waiting>> {
        let mut is_last_look = false;
        loop {
            let read = move |tx: &mut Tx<'_>| inbox_read(tx, room, STEP);
            let waiting = self.store().db().read("inbox", read).await;
            let waiting = waiting.unwrap_or_else(|error| {
                tracing::error!(%error, "the inbox cannot be read");
                Vec::new()
            });
            if !waiting.is_empty() {
                if is_last_look && !self.running.0.lock().insert(room) {
                    return None;
                }
                return Some(waiting);
            }
            if is_last_look {
                return None;
            }
            // Whoever wrote before this line, and was told that a worker is at it, is seen by one more look.
            self.running.0.lock().remove(&room);
            is_last_look = true;
        }
    }

    async fn receive_waiting(&self, room: RoomNum, waiting: Vec<Waiting>) {
        let version = match self.store().room(room).await {
            Ok(snapshot) => snapshot.map(|snapshot| snapshot.version),
            Err(error) => {
                tracing::error!(%error, "the room of waiting events cannot be read");
                tokio::time::sleep(PAUSE).await;
                return;
            }
        };
        if let Some(tries) = waiting
            .first()
            .map(|event| event.tries)
            .filter(|tries| *tries > 0)
        {
            // All have been tried in vain.
            let longer = PAUSE.saturating_mul(1 << tries.clamp(0, 16));
            tokio::time::sleep(longer.min(LONGEST_PAUSE)).await;
        }
        let (mut done, mut put_off) = (Vec::with_capacity(waiting.len()), Vec::new());
        for event in waiting {
            let is_over = match version {
                Some(version) => self.receive_one(version, &event).await,
                None => true,
            };
            if is_over || event.tries >= MAX_TRIES {
                done.push(event.num);
            } else {
                put_off.push(event.num);
                // Those that have never been tried have their turn first.
                if event.tries > 0 {
                    break;
                }
            }
        }
        let write = Write::new("inbox_done").relaxed();
        let note = move |tx: &mut Tx<'_>| {
            inbox_put_off(tx, &put_off)?;
            inbox_delete(tx, &done)
        };
        if let Err(error) = self.store().db().write(write, note).await {
            tracing::error!(%error, "received events stay in the inbox");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the event's turn is over: not while the database fails, or others don't give what it takes to check it.
    async fn receive_one(&self, version: RoomVersion, event: &Waiting) -> bool {
        let json = Arc::clone(&event.json);
        let pdu = match Pdu::from_stored(version, event.event_id.clone(), json) {
            Ok(pdu) => pdu,
            Err(error) => {
                tracing::error!(event = %event.event_id, %error, "an event in the inbox is damaged");
                return true;
            }
        };
        let receiving = tokio::time::timeout(PATIENCE, self.receive(&event.origin, pdu));
        let received = receiving.await;
        let received = received.unwrap_or(Err(ReceiveError::Missing("what it takes to check it")));
        let (origin, event) = (&event.origin, &event.event_id);
        match received {
            Ok(Received::Accepted | Received::Known) | Err(ReceiveError::UnknownRoom) => {}
            Ok(Received::SoftFailed(reason)) => {
                tracing::info!(%origin, %event, reason, "an event is not shown");
            }
            Ok(Received::Rejected(reason)) => {
                tracing::info!(%origin, %event, reason, "an event is rejected");
            }
            Err(error @ ReceiveError::Db(_)) => {
                tracing::error!(%origin, %event, %error, "an event is put off");
                return false;
            }
            Err(error @ (ReceiveError::Remote(_) | ReceiveError::Missing(_))) => {
                tracing::info!(%origin, %event, %error, "an event is put off");
                return false;
            }
        }
        true
    }
}
