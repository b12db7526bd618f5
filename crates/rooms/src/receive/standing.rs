//! Where an event of another server stands in a room, and whether the rules allow it there: the checks on receipt.
//! <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>, 4 to 6

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ruma_common::OwnedEventId;
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_stateres::{AuthState, RoomPower, auth_types, can_redact, check, check_auth_events};
use starling_store::append::{Fork, WaitingRedaction, tag_of};
use starling_store::events::{Event, Status};
use starling_store::gaps::gap_is_before;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::outliers::{KnownEvent, events_known};
use starling_store::redactions::redaction_of;
use starling_store::relations::relation_of;
use starling_store::rooms::{Extremity, RoomSnapshot};
use starling_store::snapshots::{Stored, snapshots_load};
use starling_store::state_map::{Entry, StateMap, UNNUMBERED};
use starling_store::{EventNum, RoomNum, SnapshotNum, Store};

use super::resolve::{Unnumbered, resolved};

/// So many branches beside an event are resolved one by one.
const MAX_BRANCHES: usize = 10;

/// What is to be done with an event.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing: it is here.
    Known,
    /// What it takes to decide isn't here.
    Missing {
        /// Some of its auth events.
        auth: bool,
        /// The state at some of the events that it follows.
        prev: bool,
    },
    /// Nobody can tell: only what another server says of the state there refuses it.
    Doubtful,
    /// It is to be stored like this.
    Decided(Box<Decided>),
}

/// How an event is to be stored.
#[derive(Debug)]
pub(super) struct Decided {
    /// The event, as it is to be stored.
    pub(super) pdu: Pdu,
    pub(super) status: Status,
    /// Why it was refused, if it was.
    pub(super) reason: Option<String>,
    pub(super) fork: Fork,
    /// The event here that it redacts.
    pub(super) redacts: Option<Arc<Event>>,
    /// The event of the room that it relates to.
    pub(super) relates_to: Option<Arc<Event>>,
}

impl Decided {
    /// The event is kept, and shown to nobody.
    pub(super) fn soft_fail(&mut self, reason: &str) {
        self.status = Status::SoftFailed;
        self.reason = Some(reason.to_owned());
        self.fork.current = None;
        self.fork.others.clear();
    }
}

/// Events to check another against, by their types and state keys.
pub(crate) struct Witnesses(pub(crate) Vec<Arc<Event>>);

impl AuthState for Witnesses {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        let mut events = self.0.iter().map(|event| &event.pdu);
        events.find(|pdu| pdu.kind() == kind && pdu.state_key() == Some(state_key))
    }
}

/// What decides about an event in `state`.
pub(crate) fn witnesses(
    store: &Store,
    tx: &mut Tx<'_>,
    pdu: &Pdu,
    state: &StateMap,
) -> Result<Witnesses, Error> {
    let keys = auth_types(
        pdu.version(),
        pdu.kind(),
        pdu.sender(),
        pdu.state_key(),
        pdu.content(),
    );
    // Of rooms whose id is the hash of it, no event names the create event.
    let always = [("m.room.create", std::borrow::Cow::Borrowed(""))];
    let mut events = BTreeSet::new();
    for (kind, key) in keys.into_iter().chain(always) {
        let numbers = store.names().kind(tx, kind)?;
        let numbers = numbers.zip(store.names().key(tx, &key)?);
        let entry = numbers.and_then(|(kind, key)| state.get(kind, key));
        events.extend(entry.map(|entry| entry.event));
    }
    let events: Vec<EventNum> = events.into_iter().collect();
    Ok(Witnesses(store.events_read(tx, &events)?))
}

/// Finds out where `pdu` stands in the room as it is in `room`. `before` is the state before it as another server gave
/// it, where it follows events that aren't here.
pub(super) fn standing(
    store: &Store,
    tx: &mut Tx<'_>,
    room: &RoomSnapshot,
    pdu: &Pdu,
    before: Option<&StateMap>,
) -> Result<Standing, Error> {
    let named = pdu.auth_events().iter().chain(pdu.prev_events());
    let named = named.map(|id| &**id).chain([pdu.event_id()]);
    let known = events_known(tx, named)?;
    let own = known.get(pdu.event_id());
    if own.is_some_and(|own| own.room != room.room || !own.is_bare()) {
        return Ok(Standing::Known);
    }
    let pdu = &match own {
        Some(own) => as_stored(store, tx, pdu, own.num)?,
        None => pdu.clone(),
    };
    let is_missing =
        |id: &&OwnedEventId| known.get(*id).is_none_or(|event| event.room != room.room);
    let auth = pdu.auth_events().iter().any(|id| is_missing(&id));
    let has_state = |id: &&OwnedEventId| {
        let event = known.get(*id).filter(|event| event.room == room.room);
        event.is_some_and(|event| event.snapshot.is_some())
    };
    let (here, missing): (Vec<&OwnedEventId>, Vec<&OwnedEventId>) =
        pdu.prev_events().iter().partition(has_state);
    let missing: Vec<OwnedEventId> = missing.into_iter().cloned().collect();
    let rests_on = own.is_some_and(|own| own.status == Status::Accepted);
    if rests_on && !missing.is_empty() && !gap_is_before(tx, room.room, pdu.event_id())? {
        // It is of older history: that is fetched by whoever reads back.
        return Ok(Standing::Known);
    }
    let prev = before.is_none() && !missing.is_empty();
    if auth || prev {
        return Ok(Standing::Missing { auth, prev });
    }
    let of = |ids: &[&OwnedEventId]| -> Vec<KnownEvent> {
        ids.iter()
            .filter_map(|id| known.get(*id).copied())
            .collect()
    };
    let auth: Vec<&OwnedEventId> = pdu.auth_events().iter().collect();
    let named = Named {
        auth: of(&auth),
        prev: of(&here),
        missing,
        own: own.map(|own| own.num),
    };
    let Some(decided) = decide(store, tx, (room, pdu), named, before)? else {
        return Ok(Standing::Doubtful);
    };
    // What the room's state rests on already stays accepted, whatever is said of where it stands; the create event, which
    // history leads to in the end, is such.
    if rests_on && decided.status != Status::Accepted {
        return Ok(Standing::Known);
    }
    Ok(Standing::Decided(Box::new(decided)))
}

/// An event that is here as it is here: what comes may have lost its content on the way, which the signatures don't show.
fn as_stored(store: &Store, tx: &mut Tx<'_>, pdu: &Pdu, number: EventNum) -> Result<Pdu, Error> {
    let stored = store.event_read(tx, number)?;
    let is_whole = |stored: &Event| {
        stored.redacted_by.is_some()
            || stored.pdu.has_valid_content_hash()
            || !pdu.has_valid_content_hash()
    };
    let stored = stored.filter(|stored| is_whole(stored));
    Ok(stored.map_or_else(|| pdu.clone(), |stored| stored.pdu.clone()))
}

/// The events that an event names, as far as they are here.
struct Named {
    auth: Vec<KnownEvent>,
    prev: Vec<KnownEvent>,
    missing: Vec<OwnedEventId>,
    /// The event's own number, if it is here for the sake of another.
    own: Option<EventNum>,
}

fn decide(
    store: &Store,
    tx: &mut Tx<'_>,
    (room, pdu): (&RoomSnapshot, &Pdu),
    named: Named,
    before: Option<&StateMap>,
) -> Result<Option<Decided>, Error> {
    let auth: Vec<EventNum> = named.auth.iter().map(|event| event.num).collect();
    let prev: Vec<EventNum> = named.prev.iter().map(|event| event.num).collect();
    let (state, base) = match before {
        Some(state) => {
            // What a server says of the state is one branch; what is known of the others is not forgotten for it.
            let known = state_before(store, tx, room, &named.prev)?;
            let mut all = vec![state];
            all.extend((!named.prev.is_empty()).then_some(&known.0));
            let state = resolved(store, tx, room.version, &all, None)?;
            (state, stored_of(room))
        }
        None => state_before(store, tx, room, &named.prev)?,
    };
    let power = store.power_in(tx, &state)?;
    let mut decided = Decided {
        pdu: pdu.clone(),
        status: Status::Accepted,
        reason: None,
        fork: Fork {
            before: state,
            base,
            prev,
            missing: named.missing,
            auth,
            stored_as: named.own,
            is_followed: false,
            others: Vec::new(),
            current: None,
            is_import: false,
            forwards_from: None,
            redacted_by: redacted_by(store, tx, pdu, named.own)?,
            waits_for: None,
        },
        redacts: None,
        relates_to: None,
    };
    if let Err(reason) = is_cited(store, tx, pdu, (&named.auth, &decided.fork))? {
        decided.status = Status::Rejected;
        decided.reason = Some(reason);
        return Ok(Some(decided));
    }
    let there = witnesses(store, tx, pdu, &decided.fork.before)?;
    if let Err(error) = check(pdu.version(), pdu, &there) {
        if before.is_some() {
            // By what another server says of the state, nothing is refused for good.
            return Ok(None);
        }
        decided.status = Status::Rejected;
        decided.reason = Some(error.to_string());
        return Ok(Some(decided));
    }
    let others = beside(room, &decided.fork.prev);
    if !(others.is_empty() && decided.fork.missing.is_empty()) {
        let current = witnesses(store, tx, pdu, &room.state)?;
        if let Err(error) = check(pdu.version(), pdu, &current) {
            decided.status = Status::SoftFailed;
            decided.reason = Some(error.to_string());
            return Ok(Some(decided));
        }
    }
    decided.fork.is_followed = !others.is_empty() && gap_is_before(tx, room.room, pdu.event_id())?;
    if decided.fork.is_followed {
        // Resolved with those that follow it already. The state after these alone may be what another server made up.
        decided.fork.current = Some(room.state.clone());
    } else if !(others.is_empty() && decided.fork.missing.is_empty()) {
        let beside = (room, others.as_slice());
        decided.fork.current = Some(merged(store, tx, pdu, (&decided.fork, beside))?);
    }
    decided.fork.others = others;
    let redaction = redaction(store, tx, (room.room, pdu), power.as_ref())?;
    (decided.redacts, decided.fork.waits_for) = (redaction.redacts, redaction.waits_for);
    if let Some(relation) = relation_of(pdu) {
        let event = store.event_by_id(tx, &relation.target)?;
        decided.relates_to = event.filter(|event| event.room == room.room);
    }
    Ok(Some(decided))
}

/// The redaction of an event that came before it, if there is one.
fn redacted_by(
    store: &Store,
    tx: &mut Tx<'_>,
    pdu: &Pdu,
    own: Option<EventNum>,
) -> Result<Option<EventNum>, Error> {
    let stored = own.map_or(Ok(None), |own| store.event_read(tx, own))?;
    match stored.and_then(|stored| stored.redacted_by) {
        Some(redaction) => Ok(Some(redaction)),
        None => redaction_of(tx, pdu),
    }
}

/// What an event redacts.
#[derive(Debug, Default)]
pub(crate) struct Redaction {
    /// The event, if that is here and may be redacted by it.
    pub(crate) redacts: Option<Arc<Event>>,
    /// What it waits for, if that isn't here.
    pub(crate) waits_for: Option<WaitingRedaction>,
}

/// What `pdu` redacts. `power` is that of users where it stands.
pub(crate) fn redaction(
    store: &Store,
    tx: &mut Tx<'_>,
    (room, pdu): (RoomNum, &Pdu),
    power: Option<&RoomPower>,
) -> Result<Redaction, Error> {
    let (Some(target), Some(power)) = (pdu.redacts(), power) else {
        return Ok(Redaction::default());
    };
    let event = store.event_by_id(tx, target)?;
    let Some(event) = event.filter(|event| event.room == room) else {
        let waiting = WaitingRedaction {
            target: target.to_owned(),
            has_power: power.user_level(pdu.sender()) >= power.redact_level(),
        };
        return Ok(Redaction {
            redacts: None,
            waits_for: Some(waiting),
        });
    };
    let may = can_redact(pdu, &event.pdu, power);
    Ok(Redaction {
        redacts: may.then_some(event),
        waits_for: None,
    })
}

/// A state, and where it is stored.
type StoredState = (StateMap, Stored);

/// The state before an event that follows `prev`, and one close to it that is stored.
fn state_before(
    store: &Store,
    tx: &mut Tx<'_>,
    room: &RoomSnapshot,
    prev: &[KnownEvent],
) -> Result<(StateMap, Option<StoredState>), Error> {
    if beside(
        room,
        &prev.iter().map(|event| event.num).collect::<Vec<_>>(),
    )
    .is_empty()
        && prev.len() == room.extremities.len()
    {
        return Ok((room.state.clone(), stored_of(room)));
    }
    let snapshots: BTreeSet<SnapshotNum> = prev.iter().filter_map(|event| event.snapshot).collect();
    let states = states(tx, room, &snapshots)?;
    let all: Vec<&StateMap> = states.iter().map(|(state, _)| state).collect();
    let state = resolved(store, tx, room.version, &all, None)?;
    Ok((state, states.into_iter().next()))
}

/// Stored states, in the order of their numbers.
fn states(
    tx: &mut Tx<'_>,
    room: &RoomSnapshot,
    snapshots: &BTreeSet<SnapshotNum>,
) -> Result<Vec<StoredState>, Error> {
    let current = room
        .stored
        .filter(|stored| snapshots.contains(&stored.snapshot));
    let others = snapshots.iter().copied();
    let others = others.filter(|other| current.is_none_or(|current| current.snapshot != *other));
    let others: Vec<SnapshotNum> = others.collect();
    let mut states: HashMap<SnapshotNum, StoredState> = if others.is_empty() {
        HashMap::new()
    } else {
        snapshots_load(tx, &others)?
    };
    if let Some(stored) = current {
        states.insert(stored.snapshot, (room.state.clone(), stored));
    }
    let in_order = snapshots
        .iter()
        .filter_map(|snapshot| states.remove(snapshot));
    Ok(in_order.collect())
}

fn stored_of(room: &RoomSnapshot) -> Option<StoredState> {
    room.stored.map(|stored| (room.state.clone(), stored))
}

/// The extremities that stay when an event follows `prev`.
fn beside(room: &RoomSnapshot, prev: &[EventNum]) -> Vec<Extremity> {
    let others = room.extremities.iter();
    let others = others.filter(|extremity| !prev.contains(&extremity.num));
    others.cloned().collect()
}

/// Whether the event's auth events allow it; if not, why.
fn is_cited(
    store: &Store,
    tx: &mut Tx<'_>,
    pdu: &Pdu,
    (auth, fork): (&[KnownEvent], &Fork),
) -> Result<Result<(), String>, Error> {
    if pdu.kind() == "m.room.create" {
        return Ok(Err("the room is created already".to_owned()));
    }
    if auth.iter().any(|event| event.status == Status::Rejected) {
        return Ok(Err("an event that should allow it was rejected".to_owned()));
    }
    let mut cited = Witnesses(store.events_read(tx, &fork.auth)?);
    let pdus: Vec<&Pdu> = cited.0.iter().map(|event| &event.pdu).collect();
    if let Err(error) = check_auth_events(pdu.version(), pdu, &pdus) {
        return Ok(Err(error.to_string()));
    }
    if !pdu.version().rules().create_in_auth_events {
        let create = fork.before.get(types::CREATE, EMPTY_KEY);
        let create = create.map_or(Ok(None), |entry| store.event_read(tx, entry.event))?;
        cited.0.extend(create);
    }
    let verdict = check(pdu.version(), pdu, &cited);
    Ok(verdict.map_err(|error| error.to_string()))
}

/// The state of the room with the event, which `others` stand beside. The room's own state counts as one of theirs where they
/// are many, and where the event follows what isn't here: nobody here has seen that it follows from the room.
pub(crate) fn merged(
    store: &Store,
    tx: &mut Tx<'_>,
    pdu: &Pdu,
    (fork, (room, others)): (&Fork, (&RoomSnapshot, &[Extremity])),
) -> Result<StateMap, Error> {
    let is_of_room = others.len() > MAX_BRANCHES || !fork.missing.is_empty();
    let others = if is_of_room { &[] } else { others };
    let numbers: Vec<EventNum> = others.iter().map(|extremity| extremity.num).collect();
    let events = store.events_read(tx, &numbers)?;
    let snapshots: BTreeSet<SnapshotNum> =
        events.iter().filter_map(|event| event.snapshot).collect();
    let stored: Vec<SnapshotNum> = snapshots.into_iter().collect();
    let loaded = snapshots_load(tx, &stored)?;
    let own = with_own(store, tx, (pdu, fork.stored_as), &fork.before)?;
    let mut states: Vec<&StateMap> = vec![&own];
    states.extend(is_of_room.then_some(&room.state));
    states.extend(
        stored
            .iter()
            .filter_map(|snapshot| loaded.get(snapshot))
            .map(|(state, _)| state),
    );
    let new = fork.stored_as.is_none().then_some(Unnumbered {
        pdu,
        auth: &fork.auth,
    });
    resolved(store, tx, pdu.version(), &states, new)
}

/// The state after an event, which may have no number yet.
fn with_own(
    store: &Store,
    tx: &mut Tx<'_>,
    (pdu, number): (&Pdu, Option<EventNum>),
    before: &StateMap,
) -> Result<StateMap, Error> {
    let Some(state_key) = pdu.state_key() else {
        return Ok(before.clone());
    };
    let numbers = store.names().kind(tx, pdu.kind())?;
    let numbers = numbers.zip(store.names().key(tx, state_key)?);
    let (kind, key) = numbers.ok_or_else(|| {
        Error::Unavailable("the names of an event were not stored ahead".to_owned())
    })?;
    Ok(before.with(Entry {
        kind,
        key,
        event: number.unwrap_or(UNNUMBERED),
        tag: tag_of(kind, pdu),
    }))
}
