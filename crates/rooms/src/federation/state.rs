//! The state of a room at an event, and the events that led to it, for other servers.
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>

use std::collections::BTreeSet;
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, RoomId, ServerName};
use starling_db::{Error, Tx};
use starling_events::Value;
use starling_store::append::tag_of;
use starling_store::events::{Event, Status};
use starling_store::heroes::FirstMembers;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::served::{served_auth, served_ids, served_json};
use starling_store::snapshots::snapshot_load;
use starling_store::state_map::Entry;
use starling_store::{EventNum, RoomNum, Store};

use super::{PduBytes, ServerReadError};
use crate::rooms::Rooms;

/// The state before an event, and all that its events rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedState {
    /// The events of the state.
    pub state: Vec<EventNum>,
    /// Their auth events, the auth events of these, and so on.
    pub auth_chain: Vec<EventNum>,
}

impl Rooms {
    /// The state of a room before an event.
    ///
    /// # Errors
    /// [`ServerReadError`]
    pub async fn state_for(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<ServedState, ServerReadError> {
        let event_id = event_id.to_owned();
        let of_event = vec![event_id.clone()];
        let room = self.room_until(server, room_id, of_event).await?.room;
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let event = event_of(&store, tx, room, &event_id)?;
            let state = state_before(tx, &event)?.ok_or(ServerReadError::NotFound)?;
            let auth_chain = auth_chain(tx, &state)?;
            Ok(ServedState { state, auth_chain })
        };
        self.store().db().scan("served_state", read).await
    }

    /// The auth events of an event, the auth events of these, and so on.
    ///
    /// # Errors
    /// [`ServerReadError`]
    pub async fn auth_chain_for(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Vec<EventNum>, ServerReadError> {
        let event_id = event_id.to_owned();
        let of_event = vec![event_id.clone()];
        let room = self.room_until(server, room_id, of_event).await?.room;
        let store = self.store().clone();
        let read = move |tx: &mut Tx<'_>| {
            let event = event_of(&store, tx, room, &event_id)?;
            Ok(auth_chain(tx, &[event.num])?)
        };
        self.store().db().scan("served_auth_chain", read).await
    }

    /// The same without the members of the room, with what that and the join of `event_id` rest on. Of a room without a name
    /// and address, those who stand for it in its stead are there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn without_members(
        &self,
        served: ServedState,
        event_id: &EventId,
    ) -> Result<ServedState, Error> {
        let (store, event_id) = (self.store().clone(), event_id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let events = store.events_read(tx, &served.state)?;
            let (members, others): (Vec<&Arc<Event>>, Vec<&Arc<Event>>) =
                events.iter().partition(|event| event.kind == types::MEMBER);
            let mut state: Vec<EventNum> = others.iter().map(|event| event.num).collect();
            if !others.iter().any(|event| names_room(event)) {
                state.extend(heroes_among(&members));
            }
            let join = store.event_by_id(tx, &event_id)?;
            let leading: Vec<EventNum> = state
                .iter()
                .copied()
                .chain(join.map(|join| join.num))
                .collect();
            let auth_chain = auth_chain(tx, &leading)?;
            Ok(ServedState { state, auth_chain })
        };
        self.store().db().scan("served_without_members", read).await
    }

    /// The ids of events that this server was asked for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn served_ids(&self, events: Vec<EventNum>) -> Result<Vec<OwnedEventId>, Error> {
        let read = move |tx: &mut Tx<'_>| served_ids(tx, &events);
        self.store().db().scan("served_ids", read).await
    }

    /// The bytes of events that this server was asked for: of states and auth chains, which nobody hides.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn served_pdus(&self, events: Vec<EventNum>) -> Result<Vec<PduBytes>, Error> {
        let read = move |tx: &mut Tx<'_>| served_json(tx, &events);
        self.store().db().scan("served_pdus", read).await
    }
}

/// Whether an event gives the room a name or an address.
fn names_room(event: &Event) -> bool {
    let content = Value::new(event.pdu.content());
    let text = match event.kind {
        types::NAME => content.get("name"),
        types::CANONICAL_ALIAS => content.get("alias"),
        _ => None,
    };
    let text = text.and_then(Value::as_str);
    event.key == Some(EMPTY_KEY) && text.is_some_and(|text| !text.is_empty())
}

/// The member events of those who stand for a room without a name.
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary>
fn heroes_among(members: &[&Arc<Event>]) -> Vec<EventNum> {
    let entries = members.iter().filter_map(|event| {
        Some(Entry {
            kind: event.kind,
            key: event.key?,
            event: event.num,
            tag: tag_of(event.kind, &event.pdu),
        })
    });
    // Who has just joined is not among them: they are not in the state before their join.
    let heroes = FirstMembers::of(entries).heroes(EMPTY_KEY);
    let is_hero = |event: &&&Arc<Event>| event.key.is_some_and(|key| heroes.contains(&key));
    members
        .iter()
        .filter(is_hero)
        .map(|event| event.num)
        .collect()
}

fn event_of(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    event_id: &EventId,
) -> Result<Arc<Event>, ServerReadError> {
    let event = store.event_by_id(tx, event_id)?;
    let event = event.filter(|event| event.room == room);
    event.ok_or(ServerReadError::NotFound)
}

/// The state before an event: that after it, with what it replaced put back. `None` where no state is known.
fn state_before(tx: &mut Tx<'_>, event: &Event) -> Result<Option<Vec<EventNum>>, Error> {
    let Some(snapshot) = event.snapshot else {
        return Ok(None);
    };
    let (state, _) = snapshot_load(tx, snapshot)?;
    let events = state.iter().map(|entry| entry.event);
    if event.status == Status::Rejected || event.key.is_none() {
        return Ok(Some(events.collect()));
    }
    let others = events.filter(|other| *other != event.num);
    Ok(Some(others.chain(event.replaces).collect()))
}

/// All that `events` rest on, a query for each step away from them.
fn auth_chain(tx: &mut Tx<'_>, events: &[EventNum]) -> Result<Vec<EventNum>, Error> {
    let mut chain: BTreeSet<EventNum> = BTreeSet::new();
    let mut step = events.to_vec();
    while !step.is_empty() {
        let mut next = served_auth(tx, &step)?;
        next.retain(|event| chain.insert(*event));
        step = next;
    }
    Ok(chain.into_iter().collect())
}
