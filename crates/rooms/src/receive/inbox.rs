//! Events that were taken in wait for their turn: one worker a room takes them one after the other.

use std::collections::{BTreeMap, HashMap};
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
use starling_store::remote_invites::room_is_joined;
use tokio::sync::Notify;

use super::{Purpose, ReceiveError, Received};
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

/// The rooms that a worker is at, and what tells it that something new has come.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashMap<RoomNum, Arc<Notify>>>);

/// Whether this server is in a room.
enum Here {
    /// It is; the room's version.
    Yes(RoomVersion),
    /// It is coming into it.
    NotYet,
    /// It isn't, and events of it are nothing to it.
    No,
}

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

    /// Starts a worker for the room, unless one is at it: that is told.
    pub(crate) fn work_on(&self, room: RoomNum) {
        let news = {
            let mut running = self.running.0.lock();
            if let Some(news) = running.get(&room) {
                news.notify_one();
                return;
            }
            let news = Arc::new(Notify::new());
            running.insert(room, Arc::clone(&news));
            news
        };
        let rooms = self.clone();
        tokio::spawn(async move {
            while let Some(waiting) = rooms.next_waiting(room, &news).await {
                rooms.receive_waiting(room, waiting, &news).await;
                rooms.merge_many(room).await;
            }
        });
    }

    /// What waits in a room. If that is nothing, the worker is done: who takes something in from then on starts another.
    async fn next_waiting(&self, room: RoomNum, news: &Arc<Notify>) -> Option<Vec<Waiting>> {
        let mut is_last_look = false;
        loop {
            let waiting = self.read_waiting(room).await;
            if !waiting.is_empty() {
                if is_last_look {
                    let mut running = self.running.0.lock();
                    if running.contains_key(&room) {
                        return None;
                    }
                    running.insert(room, Arc::clone(news));
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

    /// The events that wait in a room, those that have never been tried first.
    async fn read_waiting(&self, room: RoomNum) -> Vec<Waiting> {
        let read = move |tx: &mut Tx<'_>| inbox_read(tx, room, STEP);
        let waiting = self.store().db().read("inbox", read).await;
        waiting.unwrap_or_else(|error| {
            tracing::error!(%error, "the inbox cannot be read");
            Vec::new()
        })
    }

    async fn whether_here(&self, room: RoomNum) -> Result<Here, Error> {
        let Some(snapshot) = self.store().room(room).await? else {
            return Ok(Here::No);
        };
        // In this order: who has come in meanwhile is joined.
        let is_coming = self.coming.has(&snapshot.room_id);
        let is_joined = move |tx: &mut Tx<'_>| room_is_joined(tx, room);
        let is_joined = self.store().db().read("room_is_joined", is_joined).await?;
        Ok(match (is_joined, is_coming) {
            (true, _) => Here::Yes(snapshot.version),
            (false, true) => Here::NotYet,
            (false, false) => Here::No,
        })
    }

    async fn receive_waiting(&self, room: RoomNum, waiting: Vec<Waiting>, news: &Notify) {
        let here = match self.whether_here(room).await {
            Ok(here) => here,
            Err(error) => {
                tracing::error!(%error, "the room of waiting events cannot be read");
                Here::NotYet
            }
        };
        let version = match here {
            Here::Yes(version) => version,
            Here::NotYet => return tokio::time::sleep(PAUSE).await,
            Here::No => {
                let over = waiting.iter().map(|event| event.num).collect();
                return self.note_tried(over, Vec::new()).await;
            }
        };
        let (new, tried): (Vec<Waiting>, Vec<Waiting>) =
            waiting.into_iter().partition(|event| event.tries == 0);
        if new.is_empty() {
            self.receive_tried((room, version), tried, news).await;
        } else {
            self.receive_new(version, new).await;
        }
    }

    /// Receives events that have never been tried, as far as all is here that it takes: nobody is asked for anything, so that
    /// none has to wait for what another one lacks.
    async fn receive_new(&self, version: RoomVersion, events: Vec<Waiting>) {
        let (mut over, mut put_off) = (Vec::with_capacity(events.len()), Vec::new());
        for event in events {
            if self.receive_one(version, &event, Purpose::TakeReady).await {
                over.push(event.num);
            } else {
                put_off.push(event.num);
            }
        }
        self.note_tried(over, put_off).await;
    }

    /// Receives events for which others have to be asked, one after the other until that is in vain. What comes meanwhile
    /// doesn't wait for it.
    async fn receive_tried(
        &self,
        (room, version): (RoomNum, RoomVersion),
        events: Vec<Waiting>,
        news: &Notify,
    ) {
        let (mut over, mut put_off) = (Vec::new(), Vec::new());
        for event in events {
            let mut is_over = self.receive_one(version, &event, Purpose::TakeReady).await;
            if !is_over {
                let asked = self.ask_for((room, version), event.clone(), news).await;
                is_over = asked || event.tries >= MAX_TRIES;
                if !is_over {
                    put_off.push(event.num);
                    break;
                }
            }
            over.push(event.num);
        }
        self.note_tried(over, put_off).await;
    }

    /// Receives one event for which others have to be asked, after a pause if that was in vain before. Whether its turn is
    /// over then.
    async fn ask_for(
        &self,
        (room, version): (RoomNum, RoomVersion),
        event: Waiting,
        news: &Notify,
    ) -> bool {
        let rooms = self.clone();
        let asking = tokio::spawn(async move {
            if let Some(tries) = u32::try_from(event.tries - 1)
                .ok()
                .filter(|tries| *tries > 0)
            {
                let longer = PAUSE.saturating_mul(1 << tries.min(16));
                tokio::time::sleep(longer.min(LONGEST_PAUSE)).await;
            }
            rooms.receive_one(version, &event, Purpose::Take).await
        });
        tokio::pin!(asking);
        loop {
            tokio::select! {
                biased;
                is_over = &mut asking => return is_over.unwrap_or(false),
                () = news.notified() => {
                    let mut new = self.read_waiting(room).await;
                    new.retain(|event| event.tries == 0);
                    self.receive_new(version, new).await;
                }
            }
        }
    }

    /// Notes for which events the turn is over, and for which it was in vain.
    async fn note_tried(&self, over: Vec<i64>, put_off: Vec<i64>) {
        let write = Write::new("inbox_done").relaxed();
        let note = move |tx: &mut Tx<'_>| {
            inbox_put_off(tx, &put_off)?;
            inbox_delete(tx, &over)
        };
        if let Err(error) = self.store().db().write(write, note).await {
            tracing::error!(%error, "received events stay in the inbox");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the event's turn is over: not while the database fails, or others don't give what it takes to check it.
    async fn receive_one(&self, version: RoomVersion, event: &Waiting, purpose: Purpose) -> bool {
        let json = Arc::clone(&event.json);
        let pdu = match Pdu::from_stored(version, event.event_id.clone(), json) {
            Ok(pdu) => pdu,
            Err(error) => {
                tracing::error!(event = %event.event_id, %error, "an event in the inbox is damaged");
                return true;
            }
        };
        let receiving = self.receive_as(purpose, &event.origin, &pdu);
        let received = tokio::time::timeout(PATIENCE, receiving).await;
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
            Err(ReceiveError::Missing(_)) if purpose == Purpose::TakeReady => return false,
            Err(error @ (ReceiveError::Remote(_) | ReceiveError::Missing(_))) => {
                tracing::info!(%origin, %event, %error, "an event is put off");
                return false;
            }
        }
        true
    }
}
