//! Rooms of which other servers may have events that are not here any longer, since a copy of the database was put back
//! (see [`starling_store::restored`]): they are asked for the newest that they have.
//!
//! No request asks for those as such. But the template of a join follows them, and a server gives one also for a user who is
//! in the room already: nothing is made of it. The events are then taken in like those of a transaction, and receiving them
//! asks for what lies between. They may be of this server's own users; those are like any other here.
//!
//! Which rooms are still to be asked about is in the database. Whoever can't be reached is asked again, less and less often;
//! a server that has later events and is heard of again by itself leads to them, too.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use ruma_common::{OwnedEventId, OwnedServerName, OwnedUserId, ServerName};
use starling_db::{Error, Tx, Write};
use starling_events::Pdu;
use starling_store::RoomNum;
use starling_store::memberships::joined_in;
use starling_store::outliers::events_known;
use starling_store::restored::{RoomBehind, room_caught_up, room_put_off, rooms_behind};
use starling_store::rooms::RoomSnapshot;

use crate::receive::ReceiveError;
use crate::remote::Handshake;
use crate::rooms::Rooms;

/// It is asked about so many rooms at the same time.
const ROOMS_AT_ONCE: usize = 8;

/// So many rooms are read before it is looked which have waited longest.
const PAGE: u32 = 64;

/// So many servers in a room give what they have; what only others have, these lead to when they send something.
const ANSWERS: usize = 3;

/// So many servers in a room are asked at one time; the next ones the next time.
const SERVERS: usize = 8;

/// It is asked for so many users: who has left since the copy was made may get no template.
const USERS: i64 = 3;

/// So many of the newest events of a server are asked for.
const EVENTS: usize = 20;

/// How long after the first try in vain the second is made, and the longest pause between two.
const FIRST_PAUSE_MS: i64 = 15_000;
const LONGEST_PAUSE_MS: i64 = 3_600_000;

/// So often it is tried: a week or so.
const MOST_TRIES: i64 = 180;

/// When it is looked again after the database has failed.
const PAUSE: Duration = Duration::from_secs(10);

impl Rooms {
    /// Asks about rooms that are behind until there are none, or until `stop`.
    pub async fn run_catch_up(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let pass = async {
                let wait = self.catch_up().await.unwrap_or_else(|error| {
                    tracing::error!(%error, "rooms are not compared with other servers");
                    Some(PAUSE)
                });
                if let Some(wait) = wait {
                    tokio::time::sleep(wait).await;
                }
                wait.is_some()
            };
            let has_more = tokio::select! {
                biased;
                () = &mut stop => return,
                has_more = pass => has_more,
            };
            if !has_more {
                return;
            }
        }
    }

    /// Asks about all rooms that are due. How long it is until the next one is; `None` when there are no others.
    ///
    /// # Errors
    /// When the database fails; it goes on from there the next time.
    pub async fn catch_up(&self) -> Result<Option<Duration>, Error> {
        if self.parts.remote.is_none() {
            return Ok(None);
        }
        loop {
            let now_ms = self.parts.clock.now_ms();
            let read = move |tx: &mut Tx<'_>| rooms_behind(tx, now_ms, PAGE);
            let (due, next) = self.store().db().read("rooms_behind", read).await?;
            if due.is_empty() {
                let wait = next.and_then(|next| u64::try_from(next - now_ms).ok());
                return Ok(wait.map(Duration::from_millis));
            }
            let asking = due.into_iter().map(|room| self.catch_up_in(room));
            let asked = stream::iter(asking).buffer_unordered(ROOMS_AT_ONCE);
            let asked: Vec<Result<(), Error>> = asked.collect().await;
            asked.into_iter().collect::<Result<(), Error>>()?;
        }
    }

    async fn catch_up_in(&self, behind: RoomBehind) -> Result<(), Error> {
        let RoomBehind { room, tries } = behind;
        let is_over = self.has_caught_up(&behind).await? || tries >= MOST_TRIES;
        let pause_ms = FIRST_PAUSE_MS << tries.clamp(0, 16);
        let due_at = self.parts.clock.now_ms() + pause_ms.min(LONGEST_PAUSE_MS);
        let note = move |tx: &mut Tx<'_>| {
            if is_over {
                room_caught_up(tx, room)
            } else {
                room_put_off(tx, room, due_at)
            }
        };
        // If it is lost, they are asked again.
        let write = Write::new("room_caught_up").relaxed();
        self.store().db().write(write, note).await
    }

    /// Asks servers in the room; whether any has said what it has, or there is nobody to ask.
    async fn has_caught_up(&self, behind: &RoomBehind) -> Result<bool, Error> {
        let Some(snapshot) = self.store().room(behind.room).await? else {
            return Ok(true);
        };
        let users = self.some_joined(behind.room).await?;
        let servers = self.other_servers_in(&snapshot).await?;
        if users.is_empty() || servers.is_empty() {
            return Ok(true);
        }
        let mut answers = 0;
        for server in &self.whose_turn(servers, behind.tries) {
            if !self.is_server_allowed(&snapshot.room_id, server).await? {
                continue;
            }
            match self.take_newest(server, &snapshot, &users).await {
                Ok(()) => answers += 1,
                Err(ReceiveError::Db(error)) => return Err(error),
                Err(error) => {
                    tracing::info!(room = %snapshot.room_id, %server, %error, "a server doesn't say what it has of a room");
                }
            }
            if answers == ANSWERS {
                break;
            }
        }
        Ok(answers > 0)
    }

    /// Those of a room's servers that are asked at this try, so that each gets its turn; those that failed lately come last.
    fn whose_turn(&self, mut servers: Vec<OwnedServerName>, tries: i64) -> Vec<OwnedServerName> {
        let tries = usize::try_from(tries).unwrap_or(0);
        let first = tries.wrapping_mul(SERVERS).checked_rem(servers.len());
        servers.rotate_left(first.unwrap_or(0));
        servers.truncate(SERVERS);
        if let Some(remote) = self.other_servers() {
            servers.sort_by_key(|server| remote.is_failing(server));
        }
        servers
    }

    async fn some_joined(&self, room: RoomNum) -> Result<Vec<OwnedUserId>, Error> {
        let names = Arc::clone(self.store().names());
        let read = move |tx: &mut Tx<'_>| {
            let users = joined_in(tx, room, USERS)?.into_iter();
            users.map(|user| names.user_id(tx, user)).collect()
        };
        self.store().db().read("some_joined", read).await
    }

    /// Takes the newest events in that a server has of the room, as far as they are not here.
    async fn take_newest(
        &self,
        server: &ServerName,
        room: &Arc<RoomSnapshot>,
        users: &[OwnedUserId],
    ) -> Result<(), ReceiveError> {
        let newest = self.newest_of(server, room, users).await?;
        let unknown = self.without_place(room.room, newest).await?;
        if unknown.is_empty() {
            return Ok(());
        }
        let events = self.fetch_events(server, unknown).await?;
        let events: Vec<Pdu> = self.checked(room, events).await?;
        if events.is_empty() {
            return Err(ReceiveError::Missing("the newest events"));
        }
        tracing::info!(room = %room.room_id, %server, events = events.len(), "later events of a room are fetched");
        self.take_in(server, events).await.map(drop)
    }

    async fn newest_of(
        &self,
        server: &ServerName,
        room: &RoomSnapshot,
        users: &[OwnedUserId],
    ) -> Result<BTreeSet<OwnedEventId>, ReceiveError> {
        let mut failure = ReceiveError::Missing("a template");
        for user in users {
            let asked = (&*room.room_id, &**user);
            match self.remote()?.make(Handshake::Join, server, asked).await {
                Ok(template) => return Ok(template.follows().take(EVENTS).collect()),
                // Another user may be in the room still.
                Err(error @ crate::RemoteError::Refused { .. }) => failure = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(failure)
    }

    /// Those of the events that are not part of the room here.
    async fn without_place(
        &self,
        room: RoomNum,
        ids: BTreeSet<OwnedEventId>,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let read = move |tx: &mut Tx<'_>| {
            let known = events_known(tx, ids.iter().map(|id| &**id))?;
            let is_here = |id: &OwnedEventId| {
                let event = known.get(id).filter(|event| event.room == room);
                event.is_some_and(|event| !event.is_bare())
            };
            Ok(ids.into_iter().filter(|id| !is_here(id)).collect())
        };
        self.store().db().read("without_place", read).await
    }
}
