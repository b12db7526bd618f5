//! Where branches meet: the resolved state, with what resolution asks about the room read as it is asked for.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use starling_db::{Error, Tx};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::Membership;
use starling_stateres::resolution::{
    EventNum as ResolvedNum, RoomEvents, StateEvent, StateKey, resolve,
};
use starling_store::append::tag_of;
use starling_store::auth_graph::{AuthNode, auth_nodes, cited_by};
use starling_store::events::{Event, Status};
use starling_store::names::{EMPTY_KEY, types};
use starling_store::state_map::{Entry, StateMap, UNNUMBERED};
use starling_store::{EventNum, KeyNum, Store, TypeNum};

/// Events are kept in blocks of so many, which never move.
const BLOCK: usize = 1 << 10;

/// At most so many blocks: whoever makes a resolution need more than a million events gets none.
const BLOCKS: usize = 1 << 10;

/// The state key that no event of a room has.
const NO_KEY: i64 = 0;

/// An event that isn't stored yet, and whose state is among those to resolve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unnumbered<'a> {
    /// The event.
    pub(super) pdu: &'a Pdu,
    /// Its auth events.
    pub(super) auth: &'a [EventNum],
}

/// The state that follows from several states of a room, of which there is at least one.
///
/// # Errors
/// When the database cannot be read, or there are too many states.
pub(super) fn resolved(
    store: &Store,
    tx: &mut Tx<'_>,
    version: RoomVersion,
    states: &[&StateMap],
    new: Option<Unnumbered<'_>>,
) -> Result<StateMap, Error> {
    let Some(first) = states.first() else {
        return Ok(StateMap::default());
    };
    let unresolved = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
    let conflicts = StateMap::conflicts(states).map_err(|error| unresolved(&error))?;
    if conflicts.keys().is_empty() {
        return Ok((*first).clone());
    }
    let room = Room::new(store, tx, first, new)?;
    let conflicting = conflicts
        .keys()
        .iter()
        .flat_map(|conflict| &conflict.events);
    let conflicting: Vec<EventNum> = conflicting.map(|(event, _)| EventNum(event.0)).collect();
    room.load(&conflicting)?;
    let resolution = resolve(version, &conflicts, &room);
    if let Some(error) = room.failure.take() {
        return Err(error);
    }
    let resolution = resolution.map_err(|error| unresolved(&error))?;
    let mut state = (*first).clone();
    for (key, event) in resolution.changes {
        let (kind, key) = (TypeNum(key.kind), KeyNum(key.key));
        let entry = event.and_then(|event| room.entry(kind, key, event));
        state = state.set(kind, key, entry);
    }
    Ok(state)
}

/// What resolution asks about a room.
struct Room<'r, 't, 'c> {
    store: &'r Store,
    tx: RefCell<&'r mut Tx<'t>>,
    agreed: &'r StateMap,
    create: ResolvedNum,
    new: Option<Unnumbered<'c>>,
    blocks: Vec<OnceCell<Block>>,
    count: Cell<usize>,
    places: RefCell<HashMap<i64, usize>>,
    /// Why the database could not be read: resolution goes on without what is missing, and its result is dropped.
    failure: Cell<Option<Error>>,
}

/// Events that were read, up to where there are none yet.
type Block = Box<[OnceCell<Known>]>;

/// An event that was read.
struct Known {
    event: StateEvent,
    cited_by: OnceCell<Box<[ResolvedNum]>>,
}

impl<'r, 't, 'c> Room<'r, 't, 'c> {
    fn new(
        store: &'r Store,
        tx: &'r mut Tx<'t>,
        state: &'r StateMap,
        new: Option<Unnumbered<'c>>,
    ) -> Result<Self, Error> {
        let create = state.get(types::CREATE, EMPTY_KEY);
        let create =
            create.ok_or_else(|| Error::Damaged("a state without a creation".to_owned()))?;
        Ok(Self {
            store,
            tx: RefCell::new(tx),
            agreed: state,
            create: ResolvedNum(create.event.0),
            new,
            blocks: (0..BLOCKS).map(|_| OnceCell::new()).collect(),
            count: Cell::new(0),
            places: RefCell::default(),
            failure: Cell::new(None),
        })
    }

    fn known(&self, event: ResolvedNum) -> Option<&Known> {
        let place = self.places.borrow().get(&event.0).copied();
        let place = if let Some(place) = place {
            place
        } else {
            if let Err(error) = self.load(&[EventNum(event.0)]) {
                self.failure.set(Some(error));
                return None;
            }
            self.places.borrow().get(&event.0).copied()?
        };
        let block = self.blocks.get(place / BLOCK)?.get()?;
        block.get(place % BLOCK)?.get()
    }

    /// Reads those of `events` that weren't read yet, and those that they cite.
    fn load(&self, events: &[EventNum]) -> Result<(), Error> {
        let mut wanted = self.unread(events.iter().copied());
        // Once for the events, once for what they cite.
        for _ in 0..2 {
            if wanted.is_empty() {
                return Ok(());
            }
            let nodes = self.read(&wanted)?;
            let cited = nodes.iter().flat_map(|node| node.auth.iter().copied());
            wanted = self.unread(cited);
        }
        Ok(())
    }

    fn unread(&self, events: impl Iterator<Item = EventNum>) -> Vec<EventNum> {
        let places = self.places.borrow();
        let mut unread: Vec<EventNum> = events
            .filter(|event| !places.contains_key(&event.0))
            .collect();
        unread.sort_unstable();
        unread.dedup();
        unread
    }

    fn read(&self, wanted: &[EventNum]) -> Result<Vec<AuthNode>, Error> {
        let mut tx = self.tx.borrow_mut();
        let mut nodes = auth_nodes(&mut tx, wanted)?;
        let events = self.store.events_read(&mut tx, wanted)?;
        let mut found: Vec<(i64, Arc<Pdu>, AuthNode)> = Vec::with_capacity(events.len());
        for event in events {
            if let Some(node) = nodes.remove(&event.num) {
                found.push((event.num.0, pdu_of(&event), node));
            }
        }
        if let Some(new) = self.new.filter(|_| wanted.contains(&UNNUMBERED)) {
            let cited = auth_nodes(&mut tx, new.auth)?;
            let greatest = cited.values().map(|node| node.generation).max();
            let node = AuthNode {
                auth: new.auth.to_vec(),
                generation: greatest.map_or(0, |greatest| greatest + 1),
                status: Status::Accepted,
            };
            found.push((UNNUMBERED.0, Arc::new(new.pdu.clone()), node));
        }
        let mut read = Vec::with_capacity(found.len());
        for (num, pdu, node) in found {
            let event = self.state_event(&mut tx, num, pdu, &node)?;
            self.keep(event)?;
            read.push(node);
        }
        Ok(read)
    }

    fn state_event(
        &self,
        tx: &mut Tx<'_>,
        num: i64,
        pdu: Arc<Pdu>,
        node: &AuthNode,
    ) -> Result<StateEvent, Error> {
        let names = self.store.names();
        let kind = names.kind(tx, pdu.kind())?.unwrap_or(TypeNum(NO_KEY));
        let state_key = pdu.state_key().unwrap_or_default();
        let key = names.key(tx, state_key)?.unwrap_or(KeyNum(NO_KEY));
        let sender = names.key(tx, pdu.sender().as_str())?;
        Ok(StateEvent {
            num: ResolvedNum(num),
            key: StateKey {
                kind: kind.0,
                key: key.0,
            },
            sender_key: StateKey {
                kind: types::MEMBER.0,
                key: sender.unwrap_or(KeyNum(NO_KEY)).0,
            },
            membership: (kind == types::MEMBER).then(|| Membership::of_event(&pdu)),
            auth_events: node.auth.iter().map(|auth| ResolvedNum(auth.0)).collect(),
            generation: u32::try_from(node.generation).unwrap_or(u32::MAX),
            is_rejected: node.status == Status::Rejected,
            pdu,
        })
    }

    fn keep(&self, event: StateEvent) -> Result<(), Error> {
        let place = self.count.get();
        let too_many = || Error::Unavailable("the conflict is about too many events".to_owned());
        let num = event.num.0;
        let block = self.blocks.get(place / BLOCK).ok_or_else(too_many)?;
        let block = block.get_or_init(|| (0..BLOCK).map(|_| OnceCell::new()).collect());
        let known = Known {
            event,
            cited_by: OnceCell::new(),
        };
        if let Some(cell) = block.get(place % BLOCK) {
            cell.set(known).ok();
        }
        self.places.borrow_mut().insert(num, place);
        self.count.set(place + 1);
        Ok(())
    }

    /// The entry by which an event holds a key.
    fn entry(&self, kind: TypeNum, key: KeyNum, event: ResolvedNum) -> Option<Entry> {
        let pdu = &self.known(event)?.event.pdu;
        Some(Entry {
            kind,
            key,
            event: EventNum(event.0),
            tag: tag_of(kind, pdu),
        })
    }
}

fn pdu_of(event: &Event) -> Arc<Pdu> {
    Arc::new(event.pdu.clone())
}

impl RoomEvents for Room<'_, '_, '_> {
    fn event(&self, event: ResolvedNum) -> Option<&StateEvent> {
        self.known(event).map(|known| &known.event)
    }

    fn cited_by(&self, event: ResolvedNum) -> &[ResolvedNum] {
        let Some(known) = self.known(event) else {
            return &[];
        };
        known.cited_by.get_or_init(|| {
            let citing = cited_by(&mut self.tx.borrow_mut(), EventNum(event.0));
            let citing = citing.unwrap_or_else(|error| {
                self.failure.set(Some(error));
                Vec::new()
            });
            citing.iter().map(|event| ResolvedNum(event.0)).collect()
        })
    }

    fn unconflicted(&self, key: StateKey) -> Option<ResolvedNum> {
        let entry = self.agreed.get(TypeNum(key.kind), KeyNum(key.key));
        entry.map(|entry| ResolvedNum(entry.event.0))
    }

    fn key(&self, kind: &str, state_key: &str) -> Option<StateKey> {
        let mut tx = self.tx.borrow_mut();
        let names = self.store.names();
        let read = |tx: &mut Tx<'_>| {
            let kind = names.kind(tx, kind)?;
            Ok::<_, Error>(kind.zip(names.key(tx, state_key)?))
        };
        match read(&mut tx) {
            Ok(found) => found.map(|(kind, key)| StateKey {
                kind: kind.0,
                key: key.0,
            }),
            Err(error) => {
                self.failure.set(Some(error));
                None
            }
        }
    }

    fn create(&self) -> ResolvedNum {
        self.create
    }
}
