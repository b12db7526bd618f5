//! History for other servers: single events, those before others, and those between.
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, RoomId, ServerName};
use starling_db::{Error, Tx};
use starling_store::events::{Event, Status};
use starling_store::served::served_closest_in_time;
use starling_store::timeline::{Direction, START, Stretch};
use starling_store::{EventNum, RoomNum, Store};

use super::visibility::tell;
use super::{PduBytes, ServerReadError};
use crate::rooms::Rooms;

/// The most events that are told at once of what was before others.
pub const MAX_BACKFILL: usize = 100;

/// The most events that are told at once of what is missing between others.
pub const MAX_MISSING: usize = 20;

/// What a server has, and what it has heard of.
#[derive(Debug, Clone, Default)]
pub struct MissingEvents {
    /// The events before these are wanted.
    pub latest: Vec<OwnedEventId>,
    /// These are there: neither they nor those before them are wanted.
    pub earliest: Vec<OwnedEventId>,
    /// Events of less depth are not wanted either.
    pub min_depth: i64,
    /// At most so many, and never more than [`MAX_MISSING`].
    pub limit: usize,
}

impl Rooms {
    /// An event, wherever it is.
    ///
    /// # Errors
    /// [`ServerReadError`]
    pub async fn event_for(
        &self,
        server: &ServerName,
        event_id: &EventId,
    ) -> Result<PduBytes, ServerReadError> {
        let (store, wanted) = (self.store().clone(), event_id.to_owned());
        let find = move |tx: &mut Tx<'_>| store.event_by_id(tx, &wanted);
        let event = self.store().db().read("served_event", find).await?;
        let event = event.ok_or(ServerReadError::NotFound)?;
        self.room_for(server, event.pdu.room_id()).await?;
        let (store, server) = (self.store().clone(), server.to_owned());
        let read = move |tx: &mut Tx<'_>| tell(&store, tx, (&server, true), &[event]);
        let told = self.store().db().scan("served_event", read).await?;
        told.into_iter().next().ok_or(ServerReadError::NotFound)
    }

    /// At most `limit` events (and [`MAX_BACKFILL`]) of a room: those of `from`, and those before them, deepest first.
    ///
    /// # Errors
    /// [`ServerReadError`]
    pub async fn backfill_for(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        from: Vec<OwnedEventId>,
        limit: usize,
    ) -> Result<Vec<PduBytes>, ServerReadError> {
        let room = self.room_for(server, room_id).await?.room;
        let (store, server) = (self.store().clone(), server.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let events = before(&store, tx, room, (&from, limit.min(MAX_BACKFILL)))?;
            Ok(tell(&store, tx, (&server, true), &events)?)
        };
        self.store().db().scan("backfill", read).await
    }

    /// The events of a room that a server misses, oldest first.
    ///
    /// # Errors
    /// [`ServerReadError`]
    pub async fn missing_events_for(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        wanted: MissingEvents,
    ) -> Result<Vec<PduBytes>, ServerReadError> {
        let MissingEvents { latest, .. } = &wanted;
        let until = self.room_until(server, room_id, latest.clone()).await?;
        let (room, is_member) = (until.room, until.is_member);
        let wanted = MissingEvents {
            latest: until.events,
            ..wanted
        };
        let (store, server) = (self.store().clone(), server.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let events = between(&store, tx, room, wanted)?;
            Ok(tell(&store, tx, (&server, is_member), &events)?)
        };
        self.store().db().scan("missing_events", read).await
    }

    /// The event of a room whose time, in milliseconds since 1970, is the closest to `ts` in this direction, and that time.
    ///
    /// # Errors
    /// [`ServerReadError`]
    pub async fn closest_in_time_for(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        when: (i64, Direction),
    ) -> Result<(OwnedEventId, i64), ServerReadError> {
        let room = self.room_for(server, room_id).await?.room;
        let read = move |tx: &mut Tx<'_>| served_closest_in_time(tx, room, when);
        let found = self.store().db().read("served_closest", read).await?;
        found.ok_or(ServerReadError::NotFound)
    }
}

/// Goes back from some events, deepest first, to the number of events that are wanted.
fn before(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    (from, limit): (&[OwnedEventId], usize),
) -> Result<Vec<Arc<Event>>, Error> {
    let mut graph = Graph::new(store, room, limit);
    let mut found = Vec::new();
    let mut seen: HashMap<EventNum, Arc<Event>> = HashMap::new();
    let mut ahead = BinaryHeap::new();
    let mut next = graph.events(tx, from)?;
    loop {
        for event in next {
            seen.entry(event.num).or_insert_with(|| {
                ahead.push((event.pdu.depth(), event.num));
                event
            });
        }
        let deepest = ahead.pop().filter(|_| found.len() < limit);
        let Some(event) = deepest.and_then(|(_, event)| seen.get(&event)) else {
            return Ok(found);
        };
        next = graph.events(tx, event.pdu.prev_events())?;
        if event.status != Status::Rejected {
            found.push(Arc::clone(event));
        }
    }
}

/// Goes back from the latest events, step by step, up to those that are there.
fn between(
    store: &Store,
    tx: &mut Tx<'_>,
    room: RoomNum,
    wanted: MissingEvents,
) -> Result<Vec<Arc<Event>>, Error> {
    let MissingEvents {
        mut latest,
        earliest,
        min_depth,
        limit,
    } = wanted;
    let limit = limit.min(MAX_MISSING);
    let mut seen: HashSet<OwnedEventId> = earliest.into_iter().collect();
    latest.retain(|event| !seen.contains(event));
    let mut graph = Graph::new(store, room, limit);
    let mut found: Vec<Arc<Event>> = Vec::new();
    let mut step = graph.events(tx, &latest)?;
    while !step.is_empty() && found.len() < limit {
        let previous = step.iter().flat_map(|event| event.pdu.prev_events());
        let new = previous.filter(|event| seen.insert((*event).clone()));
        let new: Vec<OwnedEventId> = new.cloned().collect();
        step = graph.events(tx, &new)?;
        step.retain(|event| event.pdu.depth() >= min_depth);
        let accepted = step
            .iter()
            .filter(|event| event.status != Status::Rejected)
            .take(limit - found.len());
        found.extend(accepted.cloned());
    }
    found.reverse();
    Ok(found)
}

/// Events of one room by id. Most events follow the one before them in the room's order, so what comes before an event that
/// was looked up is read with it.
struct Graph<'a> {
    store: &'a Store,
    room: RoomNum,
    /// How many are read ahead.
    ahead: usize,
    /// What was looked up: `None` where there is nothing.
    known: HashMap<OwnedEventId, Option<Arc<Event>>>,
}

impl<'a> Graph<'a> {
    fn new(store: &'a Store, room: RoomNum, ahead: usize) -> Self {
        Self {
            store,
            room,
            ahead,
            known: HashMap::new(),
        }
    }

    /// Those of the events that are in the room's graph, in the order asked for.
    fn events(
        &mut self,
        tx: &mut Tx<'_>,
        event_ids: &[OwnedEventId],
    ) -> Result<Vec<Arc<Event>>, Error> {
        let missing = event_ids.iter().filter(|id| !self.known.contains_key(*id));
        let missing: Vec<OwnedEventId> = missing.cloned().collect();
        if !missing.is_empty() {
            self.read(tx, missing)?;
        }
        let found = event_ids
            .iter()
            .filter_map(|id| self.known.get(id)?.clone());
        Ok(found.collect())
    }

    fn read(&mut self, tx: &mut Tx<'_>, missing: Vec<OwnedEventId>) -> Result<(), Error> {
        let ids: Vec<&str> = missing.iter().map(|id| id.as_str()).collect();
        let mut events = self.store.events_by_id(tx, &ids)?;
        // What is in no graph has no state either.
        events.retain(|event| event.room == self.room && event.snapshot.is_some());
        if let Some(place) = events.iter().filter_map(|event| event.place).max() {
            let stretch = Stretch {
                from: START,
                to: place,
            };
            let ahead = i64::try_from(self.ahead).unwrap_or(i64::MAX);
            let (room, back) = (self.room, Direction::Backwards);
            events.extend(self.store.timeline_page(tx, room, stretch, back, ahead)?);
        }
        self.known.extend(missing.into_iter().map(|id| (id, None)));
        let read = events.into_iter();
        let read = read.map(|event| (event.pdu.event_id().to_owned(), Some(event)));
        self.known.extend(read);
        Ok(())
    }
}
