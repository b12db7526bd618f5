//! A room's state as of a position, and what of it a client is told beside the timeline.
//!
//! Each change of a room's state has a position, whether an event made it or the meeting of two branches: "as of" a
//! position, what changed later is taken back.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use starling_db::Tx;
use starling_store::append::membership_of;
use starling_store::events::Event;
use starling_store::heroes::FirstMembers;
use starling_store::memberships::Membership;
use starling_store::names::types;
use starling_store::rooms::RoomSnapshot;
use starling_store::snapshots::{snapshot_get, snapshot_load};
use starling_store::state_map::{Entry, StateMap};
use starling_store::timeline::{StateDelta, state_deltas, timeline_next};
use starling_store::{EventNum, KeyNum, RoomNum, Store, TypeNum};

use crate::Error;

/// A type and a state key.
pub(crate) type Key = (TypeNum, KeyNum);

/// A room's state as of a position.
#[derive(Debug)]
pub(crate) struct StateAt {
    room: RoomNum,
    /// The position up to which changes are in it.
    upto: i64,
    state: StateMap,
    /// The keys that held something else, with what: `None` where they weren't there yet.
    other: HashMap<Key, Option<Entry>>,
    /// The changes after a position, where they were read already.
    changes: Option<(i64, Vec<StateDelta>)>,
}

impl StateAt {
    /// The state after the last event up to `upto`, from a snapshot that may be newer.
    pub(crate) fn of_snapshot(
        store: &Store,
        tx: &mut Tx<'_>,
        snapshot: &RoomSnapshot,
        upto: i64,
    ) -> Result<Self, Error> {
        let (room, state) = (snapshot.room, snapshot.state.clone());
        let other = if snapshot.last_position <= upto {
            HashMap::new()
        } else {
            let later = state_deltas(tx, [(room, upto)], i64::MAX)?;
            taken_back(store, tx, &later)?
        };
        Ok(Self {
            room,
            upto,
            state,
            other,
            changes: None,
        })
    }

    /// The same, with the changes after a position, which were read before.
    pub(crate) fn knowing(self, changes: Option<(i64, &[StateDelta])>) -> Self {
        let changes = changes.map(|(after, changes)| (after, changes.to_vec()));
        Self { changes, ..self }
    }

    /// The state after `event`.
    pub(crate) fn after(tx: &mut Tx<'_>, event: &Event) -> Result<Self, Error> {
        let state = match event.snapshot {
            Some(snapshot) => snapshot_load(tx, snapshot)?.0,
            None => StateMap::default(),
        };
        // The changes that an event made come after it, and before the next one.
        let position = event.position().unwrap_or(event.num.0);
        let next = timeline_next(tx, event.room, position)?;
        Ok(Self {
            room: event.room,
            upto: next.map_or(i64::MAX, |next| next - 1),
            state,
            other: HashMap::new(),
            changes: None,
        })
    }

    /// Puts in a member event that is newer than the rest of the state.
    pub(crate) fn set_member(&mut self, user: KeyNum, event: &Event) {
        let entry = Entry {
            kind: types::MEMBER,
            key: user,
            event: event.num,
            tag: membership_of(&event.pdu).map_or(0, Membership::code),
        };
        self.other.insert((entry.kind, entry.key), Some(entry));
    }

    pub(crate) fn get(&self, (kind, key): Key) -> Option<Entry> {
        match self.other.get(&(kind, key)) {
            Some(other) => *other,
            None => self.state.get(kind, key).copied(),
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.state
            .iter()
            .filter_map(|entry| self.get((entry.kind, entry.key)))
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = Entry> {
        self.state
            .members()
            .filter_map(|entry| self.get((entry.kind, entry.key)))
    }

    /// How many are joined and invited, of whom `snapshot` counts those that it shows.
    pub(crate) fn counts(&self, snapshot: &RoomSnapshot) -> (i64, i64) {
        let (mut joined, mut invited) = (snapshot.joined, snapshot.invited);
        for ((kind, key), other) in self.other.iter().filter(|(key, _)| key.0 == types::MEMBER) {
            let now = self.state.get(*kind, *key).map(|entry| entry.tag);
            let then = other.map(|entry| entry.tag);
            let change = |membership: Membership| {
                i64::from(then == Some(membership.code()))
                    - i64::from(now == Some(membership.code()))
            };
            joined += change(Membership::Join);
            invited += change(Membership::Invite);
        }
        (joined, invited)
    }

    /// The heroes for the user whose state key is `own`. They are looked for only where some member was another than
    /// `snapshot` shows.
    pub(crate) fn heroes(&self, snapshot: &RoomSnapshot, own: KeyNum) -> Vec<KeyNum> {
        let is_other = self.other.keys().any(|(kind, _)| *kind == types::MEMBER);
        if is_other {
            FirstMembers::of(self.members()).heroes(own)
        } else {
            snapshot.first_members().heroes(own)
        }
    }

    pub(crate) fn membership(&self, user: KeyNum) -> Option<Membership> {
        self.get((types::MEMBER, user))
            .and_then(|entry| Membership::from_code(entry.tag))
    }
}

/// What keys held before these changes, which are in order.
fn taken_back(
    store: &Store,
    tx: &mut Tx<'_>,
    changes: &[StateDelta],
) -> Result<HashMap<Key, Option<Entry>>, Error> {
    let mut first: HashMap<Key, Option<EventNum>> = HashMap::new();
    for change in changes {
        let key = (change.kind, change.key);
        first.entry(key).or_insert(change.old);
    }
    let members = first.iter().filter(|(key, _)| key.0 == types::MEMBER);
    let members = members.filter_map(|(_, old)| *old);
    let members = by_number(store, tx, members)?;
    let entry = |((kind, key), old): (Key, Option<EventNum>)| {
        let entry = old.map(|event| Entry {
            kind,
            key,
            event,
            tag: members
                .get(&event)
                .and_then(|event| membership_of(&event.pdu))
                .map_or(0, Membership::code),
        });
        ((kind, key), entry)
    };
    Ok(first.into_iter().map(entry).collect())
}

/// What some keys held after `event`, in the order of the events. What has not changed since is taken from `snapshot`;
/// the rest costs the same however much has changed since.
pub(crate) fn held(
    tx: &mut Tx<'_>,
    snapshot: &RoomSnapshot,
    keys: &BTreeSet<Key>,
    event: &Event,
) -> Result<Vec<Entry>, Error> {
    let mut held = Vec::new();
    for (kind, key) in keys {
        let now = snapshot.state.get(*kind, *key).copied();
        if now.is_some_and(|now| now.event <= event.num) {
            held.extend(now);
        } else if let Some(then) = event.snapshot {
            held.extend(snapshot_get(tx, then, *kind, *key)?);
        }
    }
    held.sort_unstable_by_key(|entry| entry.event);
    Ok(held)
}

fn by_number(
    store: &Store,
    tx: &mut Tx<'_>,
    numbers: impl Iterator<Item = EventNum>,
) -> Result<HashMap<EventNum, Arc<Event>>, Error> {
    let numbers: Vec<EventNum> = numbers.collect();
    let events = store.events_read(tx, &numbers)?;
    Ok(events.into_iter().map(|event| (event.num, event)).collect())
}

/// What changed of a room's state.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// The keys that changed.
    keys: BTreeSet<Key>,
    /// The events that came to hold them, and those that hold them and were redacted.
    events: BTreeSet<EventNum>,
}

impl Changed {
    /// What changed after position `after` and up to `upto`.
    pub(crate) fn read(
        tx: &mut Tx<'_>,
        room: RoomNum,
        after: i64,
        upto: i64,
    ) -> Result<Self, Error> {
        Ok(Self::of(&state_deltas(tx, [(room, after)], upto)?))
    }

    /// Whether this event came to hold one of the keys, or holds it and was redacted.
    pub(crate) fn has(&self, event: EventNum) -> bool {
        self.events.contains(&event)
    }

    /// What these changes changed.
    pub(crate) fn of(deltas: &[StateDelta]) -> Self {
        Self {
            events: deltas.iter().filter_map(|delta| delta.event).collect(),
            keys: deltas.iter().map(|delta| (delta.kind, delta.key)).collect(),
        }
    }
}

/// Which part of a room's state to tell.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Of a room told whole: everything. Else what has changed.
    pub(crate) changed: Option<&'a Changed>,
    /// With lazy loading: the members to tell of, changed or not. Without: `None`, and the others of a whole room too.
    pub(crate) members: Option<&'a BTreeSet<KeyNum>>,
    /// The position after which a client doesn't know the changes.
    pub(crate) after: i64,
    /// Whether to tell the state after the timeline, or before.
    pub(crate) state_after: bool,
}

/// The state to tell beside `timeline`, the events that are told.
///
/// A key that an event of the timeline changes is told as it was before the first event of the timeline. Any other is
/// told as it is at the end, also where a change lies between events of the timeline and the filter left it out: a
/// client that takes the state and then the timeline ends with the state that the room has.
pub(crate) fn told(
    store: &Store,
    tx: &mut Tx<'_>,
    at: &StateAt,
    timeline: &[Arc<Event>],
    wanted: &Wanted<'_>,
) -> Result<Vec<Entry>, Error> {
    let candidates = candidates(at, wanted);
    let Some(start) = timeline
        .first()
        .and_then(|event| event.position())
        .filter(|_| !wanted.state_after)
    else {
        return Ok(candidates);
    };
    let shown: BTreeSet<Key> = timeline
        .iter()
        .filter_map(|event| Some((event.kind, event.key?)))
        .collect();
    let (shown, mut told): (Vec<Entry>, Vec<Entry>) = candidates
        .into_iter()
        .partition(|entry| shown.contains(&(entry.kind, entry.key)));
    let mut before = as_of(store, tx, shown, (at, start))?;
    before.retain(|entry| wanted.wants(entry));
    told.append(&mut before);
    told.sort_unstable_by_key(|entry| entry.event);
    Ok(told)
}

/// What the keys of `entries`, which are those of `at`, held just before position `start`.
fn as_of(
    store: &Store,
    tx: &mut Tx<'_>,
    entries: Vec<Entry>,
    (at, start): (&StateAt, i64),
) -> Result<Vec<Entry>, Error> {
    if entries.is_empty() {
        return Ok(entries);
    }
    let known = at.changes.as_ref().filter(|(from, _)| *from < start);
    let changes = match known {
        Some((_, changes)) => changes.clone(),
        None => state_deltas(tx, [(at.room, start - 1)], at.upto)?,
    };
    let keys: HashSet<Key> = entries
        .iter()
        .map(|entry| (entry.kind, entry.key))
        .collect();
    let changes: Vec<StateDelta> = changes
        .into_iter()
        .filter(|change| change.position >= start && keys.contains(&(change.kind, change.key)))
        .collect();
    let earlier = taken_back(store, tx, &changes)?;
    let then = |entry: Entry| match earlier.get(&(entry.kind, entry.key)) {
        Some(other) => *other,
        None => Some(entry),
    };
    Ok(entries.into_iter().filter_map(then).collect())
}

impl Wanted<'_> {
    /// Whether an event that holds a key is to be told, if the client doesn't get it with the timeline.
    fn wants(&self, entry: &Entry) -> bool {
        // The client knows no newer event, or not that this one holds the key again or was redacted.
        let is_new = self
            .changed
            .is_none_or(|changed| entry.event.0 > self.after || changed.has(entry.event));
        match self.members {
            Some(members) if entry.kind == types::MEMBER => {
                members.contains(&entry.key) || (self.changed.is_some() && is_new)
            }
            _ => is_new,
        }
    }
}

/// The entries to tell as they are at the end.
fn candidates(at: &StateAt, wanted: &Wanted<'_>) -> Vec<Entry> {
    let Some(changed) = wanted.changed else {
        return at.entries().filter(|entry| wanted.wants(entry)).collect();
    };
    let lazy = wanted
        .members
        .into_iter()
        .flatten()
        .map(|key| (types::MEMBER, *key));
    let keys: BTreeSet<Key> = changed.keys.iter().copied().chain(lazy).collect();
    keys.into_iter()
        .filter_map(|key| at.get(key))
        .filter(|entry| wanted.wants(entry))
        .collect()
}
