//! Events that were taken in wait for their turn. One worker a room takes those first for which all is here, one after the
//! other; then it asks for what the others lack, for the next one of several servers at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ruma_common::{OwnedEventId, OwnedServerName, ServerName};
use starling_db::{Error, Tx, Write};
use starling_events::{Pdu, RoomVersion};
use starling_store::RoomNum;
use starling_store::inbox::{
    Waiting, inbox_any, inbox_clear, inbox_count, inbox_delete, inbox_insert, inbox_new,
    inbox_put_off, inbox_rooms, inbox_tried,
};
use starling_store::remote_invites::room_is_joined;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

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

/// For so many events of a room others are asked at the same time, each sent by another server: one that is slow, or lies in wait,
/// delays its own.
const AT_ONCE: usize = 8;

/// How long a worker waits when the database has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The rooms that a worker is at, and what tells it that something new has come.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashMap<RoomNum, Arc<Notify>>>);

/// For what a room's worker asks others.
#[derive(Default)]
struct Asking {
    tasks: JoinSet<(Waiting, bool)>,
    /// The servers that sent the events: one of each at a time.
    servers: BTreeSet<OwnedServerName>,
    /// When events that were asked for in vain have their next turn.
    due: BTreeMap<i64, Instant>,
    /// Whether something came that others may have lacked.
    has_news: bool,
}

impl Asking {
    /// Whether it is the event's turn.
    fn is_free(&self, event: &Waiting) -> bool {
        !self.servers.contains(&event.origin) && !self.due.contains_key(&event.num)
    }

    /// The event has its next turn after a while that grows, unless its turn is over.
    fn pause(&mut self, event: &Waiting, is_over: bool) {
        if is_over {
            self.due.remove(&event.num);
            return;
        }
        let tries = u32::try_from(event.tries).unwrap_or(u32::MAX).min(16);
        let pause = PAUSE.saturating_mul(1 << tries).min(LONGEST_PAUSE);
        self.due.insert(event.num, Instant::now() + pause);
    }
}

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
            let mut asking = Asking::default();
            loop {
                match rooms.work_in(room, &news, &mut asking).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        tracing::error!(%error, "received events wait");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
    }

    /// One step of a room's worker; false when nothing is left to do.
    async fn work_in(
        &self,
        room: RoomNum,
        news: &Arc<Notify>,
        asking: &mut Asking,
    ) -> Result<bool, Error> {
        let version = match self.whether_here(room).await? {
            Here::Yes(version) => version,
            Here::NotYet => {
                tokio::time::sleep(PAUSE).await;
                return Ok(true);
            }
            Here::No => {
                let clear = move |tx: &mut Tx<'_>| inbox_clear(tx, room);
                let write = self.store().db().write(Write::new("inbox_clear"), clear);
                write.await?;
                return self.is_not_over(room, news).await;
            }
        };
        let read = move |tx: &mut Tx<'_>| inbox_new(tx, room, STEP);
        let new = self.store().db().read("inbox", read).await?;
        if !new.is_empty() {
            asking.has_news |= self.receive_ready(version, new).await;
            self.merge_soon(room);
            return Ok(true);
        }
        let read = move |tx: &mut Tx<'_>| inbox_tried(tx, room, STEP);
        let tried = self.store().db().read("inbox", read).await?;
        if tried.is_empty() && asking.tasks.is_empty() {
            return self.is_not_over(room, news).await;
        }
        if std::mem::take(&mut asking.has_news) {
            // What they lacked may be here now.
            let waiting = tried.iter().filter(|event| !asking.is_free(event));
            let waiting = waiting.filter(|event| !asking.servers.contains(&event.origin));
            let waiting: Vec<Waiting> = waiting.cloned().collect();
            if !waiting.is_empty() && self.receive_ready(version, waiting).await {
                asking.has_news = true;
                return Ok(true);
            }
        }
        for event in tried {
            if asking.tasks.len() < AT_ONCE && asking.is_free(&event) {
                self.ask_for(version, event, asking);
            }
        }
        self.wait(room, news, asking).await;
        Ok(true)
    }

    /// Whether something waits in a room after all. If not, the worker is done: who takes something in from then on starts
    /// another.
    async fn is_not_over(&self, room: RoomNum, news: &Arc<Notify>) -> Result<bool, Error> {
        self.running.0.lock().remove(&room);
        // Whoever wrote before this line, and was told that a worker is at it, is seen by one more look.
        let read = move |tx: &mut Tx<'_>| inbox_any(tx, room);
        let waits = self.store().db().read("inbox", read).await;
        if let Ok(false) = waits {
            return Ok(false);
        }
        let mut running = self.running.0.lock();
        if running.contains_key(&room) {
            return Ok(false);
        }
        running.insert(room, Arc::clone(news));
        drop(running);
        waits
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

    /// Receives events as far as all is here that it takes: nobody is asked for anything, so that none has to wait for what
    /// another one lacks. Whether the turn of any is over.
    async fn receive_ready(&self, version: RoomVersion, events: Vec<Waiting>) -> bool {
        let (mut over, mut put_off) = (Vec::with_capacity(events.len()), Vec::new());
        for event in events {
            if self.receive_one(version, &event, Purpose::TakeReady).await {
                over.push(event.num);
            } else if event.tries == 0 {
                put_off.push(event.num);
            }
        }
        let has_news = !over.is_empty();
        if has_news || !put_off.is_empty() {
            self.note_tried(over, put_off).await;
        }
        has_news
    }

    /// Begins to receive an event for which others have to be asked.
    fn ask_for(&self, version: RoomVersion, event: Waiting, asking: &mut Asking) {
        let rooms = self.clone();
        asking.servers.insert(event.origin.clone());
        asking.tasks.spawn(async move {
            let is_over = rooms.receive_one(version, &event, Purpose::TakeReady).await
                || rooms.receive_one(version, &event, Purpose::Take).await;
            (event, is_over)
        });
    }

    /// Waits until an event is received, or was asked for in vain; or something new has come; or a pause is over.
    async fn wait(&self, room: RoomNum, news: &Notify, asking: &mut Asking) {
        let next = asking.due.values().min().copied();
        let pause = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(asked) = asking.tasks.join_next() => {
                let Ok((event, is_over)) = asked else {
                    // It panicked: nobody knows which server it was about.
                    asking.servers.clear();
                    return;
                };
                asking.servers.remove(&event.origin);
                let is_over = is_over || event.tries >= MAX_TRIES;
                asking.has_news |= is_over;
                asking.pause(&event, is_over);
                let (over, put_off) = if is_over { (vec![event.num], vec![]) } else { (vec![], vec![event.num]) };
                self.note_tried(over, put_off).await;
                self.merge_soon(room);
            }
            () = news.notified() => {}
            () = pause => asking.due.retain(|_, due| Some(*due) != next),
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
            Ok(Received::Accepted) => count_received("accepted"),
            Ok(Received::Known) | Err(ReceiveError::UnknownRoom) => {}
            Ok(Received::SoftFailed(reason)) => {
                count_received("soft_failed");
                tracing::info!(%origin, %event, reason, "an event is not shown");
            }
            Ok(Received::Rejected(reason)) => {
                count_received("rejected");
                tracing::info!(%origin, %event, reason, "an event is rejected");
            }
            Err(error @ ReceiveError::Db(_)) => {
                tracing::error!(%origin, %event, %error, "an event is put off");
                return false;
            }
            Err(ReceiveError::Missing(_)) if purpose == Purpose::TakeReady => return false,
            Err(error @ (ReceiveError::Remote(_) | ReceiveError::Missing(_))) => {
                count_received("put_off");
                tracing::info!(%origin, %event, %error, "an event is put off");
                return false;
            }
        }
        true
    }
}

/// Counts an event of another server, by what became of it.
pub(super) fn count_received(result: &'static str) {
    metrics::counter!("starling_federation_events_received_total", "result" => result).increment(1);
}
