//! What an event cites or follows and isn't here: asked of the server that sent it, then of some others in the room.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use ruma_common::{EventId, OwnedEventId, OwnedServerName, ServerName};
use serde_json::value::RawValue;
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_store::append::tag_of;
use starling_store::events::Status;
use starling_store::names::types;
use starling_store::outliers::events_known;
use starling_store::rooms::RoomSnapshot;
use starling_store::state_map::{Entry, StateMap};
use starling_store::{EventNum, RoomNum, Store};

use super::{Purpose, ReceiveError};
use crate::order::by_prev_events;
use crate::remote::{Missing, Remote, RemoteError, StateIds};
use crate::rooms::Rooms;

/// So many events are asked for that lie between those here and a new one: others give no more at once.
const MISSING: u32 = 20;

/// Where more events of a state than this are missing, all of it is asked for at once.
const SINGLE_EVENTS: usize = 30;

/// More events than this lead to none.
const MAX_CHAIN: usize = 20_000;

/// So many events are asked for at once.
const AT_ONCE: usize = 5;

/// So many other servers are asked, where the one that should have it doesn't give it.
const OTHERS: usize = 2;

/// How long one server may take to give all that it is asked for.
const PATIENCE: Duration = Duration::from_secs(40);

impl Rooms {
    pub(crate) fn remote(&self) -> Result<&Remote, ReceiveError> {
        let remote = self.parts.remote.as_ref();
        remote.ok_or(ReceiveError::Missing("what other servers have"))
    }

    /// The events, of those that were fetched, that are what they should be.
    pub(crate) async fn checked(
        &self,
        room: &RoomSnapshot,
        events: Vec<Box<RawValue>>,
    ) -> Result<Vec<Pdu>, ReceiveError> {
        let checked = self
            .remote()?
            .check(room.version, &room.room_id, events)
            .await?;
        let is_good = |event: Result<Pdu, crate::remote::Refused>| {
            event
                .inspect_err(|error| tracing::debug!(room = %room.room_id, %error, "a fetched event is refused"))
                .ok()
        };
        Ok(checked.into_iter().filter_map(is_good).collect())
    }

    /// Receives what lies between the events here and `pdu`, as far as the server gives it.
    pub(super) async fn receive_missing(
        &self,
        room: &Arc<RoomSnapshot>,
        origin: &ServerName,
        pdu: &Pdu,
    ) -> Result<(), ReceiveError> {
        let extremities = room.extremities.iter();
        let earliest: Vec<OwnedEventId> = extremities
            .map(|extremity| extremity.reference.event_id.clone())
            .collect();
        let missing = Missing {
            earliest: &earliest,
            latest: &[pdu.event_id().to_owned()],
            limit: MISSING,
            min_depth: 0,
        };
        let remote = self.remote()?;
        let ask = |server: OwnedServerName| async move {
            let events = remote
                .missing_events(&server, &room.room_id, missing)
                .await?;
            let events = self.checked(room, events).await?;
            if events.is_empty() {
                return Err(ReceiveError::Missing("events between"));
            }
            Ok(events)
        };
        let events = match self.ask_some(room, origin, ask).await {
            Ok(events) => events,
            Err(ReceiveError::Db(error)) => return Err(error.into()),
            Err(error) => {
                tracing::debug!(%origin, room = %room.room_id, %error, "no missing events");
                return Ok(());
            }
        };
        for event in by_prev_events(events) {
            if event.event_id() == pdu.event_id() {
                continue;
            }
            let received =
                Box::pin(self.receive_in(room.room, (origin, &event), Purpose::Fill)).await;
            if let Err(error) = received {
                tracing::debug!(%origin, event = %event.event_id(), %error, "a missing event is not received");
            }
        }
        Ok(())
    }

    /// Stores the events that allow `pdu`, as outliers.
    pub(super) async fn fetch_auth(
        &self,
        room: &Arc<RoomSnapshot>,
        origin: &ServerName,
        pdu: &Pdu,
    ) -> Result<(), ReceiveError> {
        let ask = |server: OwnedServerName| async move { self.auth_from(room, &server, pdu).await };
        self.ask_some(room, origin, ask).await
    }

    async fn auth_from(
        &self,
        room: &Arc<RoomSnapshot>,
        server: &ServerName,
        pdu: &Pdu,
    ) -> Result<(), ReceiveError> {
        let remote = self.remote()?;
        let chain = remote
            .event_auth(server, &room.room_id, pdu.event_id())
            .await?;
        let chain = leading_to(pdu, self.checked(room, chain).await?);
        if chain.len() > MAX_CHAIN {
            return Err(ReceiveError::Missing("an auth chain of a sensible length"));
        }
        self.store_outliers(room.room, chain).await?;
        let cited = pdu.auth_events().iter().cloned().collect();
        if self.unknown_among(room.room, cited).await?.is_empty() {
            Ok(())
        } else {
            Err(ReceiveError::Missing("events that allow it"))
        }
    }

    /// What the server gives that has to have it; if it doesn't, what one of some others in the room gives.
    async fn ask_some<T: Send, F: Future<Output = Result<T, ReceiveError>> + Send>(
        &self,
        room: &Arc<RoomSnapshot>,
        origin: &ServerName,
        ask: impl Fn(OwnedServerName) -> F + Send + Sync,
    ) -> Result<T, ReceiveError> {
        let ask = async |server: OwnedServerName| {
            let answer = tokio::time::timeout(PATIENCE, ask(server)).await;
            answer.unwrap_or(Err(ReceiveError::Missing("an answer in time")))
        };
        let failure = match ask(origin.to_owned()).await {
            Err(error @ (ReceiveError::Remote(_) | ReceiveError::Missing(_))) => error,
            answer => return answer,
        };
        let others = self.other_servers_in(room).await?.into_iter();
        for server in others.filter(|server| server != origin).take(OTHERS) {
            match ask(server).await {
                Err(ReceiveError::Remote(_) | ReceiveError::Missing(_)) => {}
                answer => return answer,
            }
        }
        Err(failure)
    }

    /// The state before `pdu`, as a server says; what of it wasn't here is stored.
    pub(crate) async fn fetch_state(
        &self,
        room: &Arc<RoomSnapshot>,
        origin: &ServerName,
        pdu: &Pdu,
    ) -> Result<StateMap, ReceiveError> {
        let ask =
            |server: OwnedServerName| async move { self.state_from(room, &server, pdu).await };
        // Nobody knows better what it follows than the server that made it.
        let own = pdu.sender().server_name();
        if own != origin
            && own != self.server_name()
            && self
                .other_servers_in(room)
                .await?
                .iter()
                .any(|server| server == own)
        {
            let answer = tokio::time::timeout(PATIENCE, ask(own.to_owned())).await;
            if let Ok(Ok(state)) = answer {
                return Ok(state);
            }
        }
        self.ask_some(room, origin, ask).await
    }

    async fn state_from(
        &self,
        room: &Arc<RoomSnapshot>,
        origin: &ServerName,
        pdu: &Pdu,
    ) -> Result<StateMap, ReceiveError> {
        let remote = self.remote()?;
        let ids = remote
            .state_ids(origin, &room.room_id, pdu.event_id())
            .await?;
        let missing = self
            .unknown_among(room.room, all_of(&ids).collect())
            .await?;
        let fetched = if missing.len() > SINGLE_EVENTS {
            let state = remote.state(origin, &room.room_id, pdu.event_id()).await?;
            let mut events = state.pdus;
            events.extend(state.auth_chain);
            events
        } else {
            self.fetch_events(origin, missing).await?
        };
        let fetched = self.checked(room, fetched).await?;
        let named: BTreeSet<OwnedEventId> = all_of(&ids).collect();
        let keep = |events: Vec<Pdu>| {
            let named = events
                .into_iter()
                .filter(|pdu| named.contains(pdu.event_id()));
            named.collect()
        };
        self.store_outliers(room.room, keep(fetched)).await?;
        let missing = self
            .unknown_among(room.room, all_of(&ids).collect())
            .await?;
        if !missing.is_empty() && missing.len() <= SINGLE_EVENTS {
            // One request may have failed: a state with holes is none.
            let state = remote.state(origin, &room.room_id, pdu.event_id()).await?;
            let events = state.pdus.into_iter().chain(state.auth_chain).collect();
            let events = self.checked(room, events).await?;
            self.store_outliers(room.room, keep(events)).await?;
        }
        self.state_of(room.room, ids.pdu_ids).await
    }

    /// Those of the events that aren't here.
    pub(crate) async fn unknown_among(
        &self,
        room: RoomNum,
        ids: BTreeSet<OwnedEventId>,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let read = move |tx: &mut Tx<'_>| {
            let known = events_known(tx, ids.iter().map(|id| &**id))?;
            let is_here = |id: &OwnedEventId| known.get(id).is_some_and(|event| event.room == room);
            Ok(ids.into_iter().filter(|id| !is_here(id)).collect())
        };
        self.store().db().scan("unknown_events", read).await
    }

    pub(crate) async fn fetch_events(
        &self,
        origin: &ServerName,
        ids: Vec<OwnedEventId>,
    ) -> Result<Vec<Box<RawValue>>, ReceiveError> {
        let remote = self.remote()?;
        let fetch = |id: OwnedEventId| async move { remote.event(origin, &id).await };
        let fetched: Vec<Result<Box<RawValue>, RemoteError>> = stream::iter(ids)
            .map(fetch)
            .buffered(AT_ONCE)
            .collect()
            .await;
        Ok(fetched.into_iter().filter_map(Result::ok).collect())
    }

    /// The state that consists of these events: of those that are here and were not rejected.
    pub(crate) async fn state_of(
        &self,
        room: RoomNum,
        ids: Vec<OwnedEventId>,
    ) -> Result<StateMap, ReceiveError> {
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| state_of(&store, tx, room, &ids);
        let state = self.store().db().scan("state_of", read).await?;
        if state
            .get(types::CREATE, starling_store::names::EMPTY_KEY)
            .is_none()
        {
            return Err(ReceiveError::Missing("the room's creation"));
        }
        Ok(state)
    }
}

/// All events that an answer names.
fn all_of(ids: &StateIds) -> impl Iterator<Item = OwnedEventId> {
    ids.pdu_ids.iter().chain(&ids.auth_chain_ids).cloned()
}

/// Those of the events that lead to `pdu` by what events cite.
fn leading_to(pdu: &Pdu, events: Vec<Pdu>) -> Vec<Pdu> {
    let mut events: HashMap<OwnedEventId, Pdu> = events
        .into_iter()
        .map(|event| (event.event_id().to_owned(), event))
        .collect();
    let mut ahead: Vec<OwnedEventId> = pdu.auth_events().to_vec();
    let mut leading = Vec::new();
    while let Some(event) = ahead.pop() {
        if let Some(event) = events.remove(&event) {
            ahead.extend(event.auth_events().iter().cloned());
            leading.push(event);
        }
    }
    leading
}

fn state_of(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    ids: &[OwnedEventId],
) -> Result<StateMap, Error> {
    let known = events_known(tx, ids.iter().map(|id| -> &EventId { id }))?;
    let counts = known.values();
    let counts = counts.filter(|event| event.room == room && event.status != Status::Rejected);
    let mut numbers: Vec<EventNum> = counts.map(|event| event.num).collect();
    numbers.sort_unstable();
    let events = store.events_read(tx, &numbers)?;
    let entries = events.iter().filter_map(|event| {
        Some(Entry {
            kind: event.kind,
            key: event.key?,
            event: event.num,
            tag: tag_of(event.kind, &event.pdu),
        })
    });
    Ok(StateMap::of(entries))
}
