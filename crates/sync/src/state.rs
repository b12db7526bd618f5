//! A room's state as of a position, and what of it a client is told beside the timeline.
//!
//! Everything here relies on the room's order being that in which its state changed: so it is in rooms that only this
//! server is in. A live event's number is its position, so "as of" is a comparison of numbers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use starling_db::Tx;
use starling_store::events::Event;
use starling_store::heroes::FirstMembers;
use starling_store::memberships::Membership;
use starling_store::names::types;
use starling_store::rooms::RoomSnapshot;
use starling_store::snapshots::{snapshot_get, snapshot_load};
use starling_store::state_map::{Entry, StateMap};
use starling_store::timeline::{StateDelta, state_deltas};
use starling_store::{EventNum, KeyNum, RoomNum, Store, TypeNum};

use crate::Error;

/// A type and a state key.
pub(crate) type Key = (TypeNum, KeyNum);

/// A room's state as of a position.
#[derive(Debug)]
pub(crate) struct StateAt {
    state: StateMap,
    /// The keys that held something else, with what: `None` where they weren't there yet.
    other: HashMap<Key, Option<Entry>>,
}

impl StateAt {
    /// The state after the last event up to `upto`, from a snapshot that may be newer.
    pub(crate) fn of_snapshot(
        store: &Store,
        tx: &mut Tx<'_>,
        snapshot: &RoomSnapshot,
        upto: i64,
    ) -> Result<Self, Error> {
        let state = snapshot.state.clone();
        if snapshot.last_position <= upto {
            return Ok(Self {
                state,
                other: HashMap::new(),
            });
        }
        let newer: Vec<Entry> = state
            .iter()
            .filter(|entry| entry.event.0 > upto)
            .copied()
            .collect();
        let earlier = rewind(store, tx, newer, upto)?;
        Ok(Self {
            state,
            other: earlier,
        })
    }

    /// The state after `event`.
    pub(crate) fn after(tx: &mut Tx<'_>, event: &Event) -> Result<Self, Error> {
        let state = match event.snapshot {
            Some(snapshot) => snapshot_load(tx, snapshot)?.0,
            None => StateMap::default(),
        };
        Ok(Self {
            state,
            other: HashMap::new(),
        })
    }

    /// Puts in a member event that is newer than the rest of the state.
    pub(crate) fn set_member(&mut self, user: KeyNum, event: &Event) {
        let entry = Entry {
            kind: types::MEMBER,
            key: user,
            event: event.num,
            tag: membership_of(event).map_or(0, Membership::code),
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

/// What keys held after position `last`, given what they hold now: each of `entries` is newer than that.
fn rewind(
    store: &Store,
    tx: &mut Tx<'_>,
    mut entries: Vec<Entry>,
    last: i64,
) -> Result<HashMap<Key, Option<Entry>>, Error> {
    let mut held = HashMap::new();
    let mut members = Vec::new();
    // Each round goes back by one change of every key.
    while !entries.is_empty() {
        let events = by_number(store, tx, entries.iter().map(|entry| entry.event))?;
        let mut newer = Vec::new();
        for entry in entries {
            let replaced = events.get(&entry.event).and_then(|event| event.replaces);
            let before = replaced.map(|event| Entry { event, ..entry });
            match before {
                Some(before) if before.event.0 > last => newer.push(before),
                Some(before) if before.kind == types::MEMBER => members.push(before),
                before => drop(held.insert((entry.kind, entry.key), before)),
            }
        }
        entries = newer;
    }
    let events = by_number(store, tx, members.iter().map(|entry| entry.event))?;
    for entry in members {
        let tag = events
            .get(&entry.event)
            .and_then(|event| membership_of(event))
            .map_or(0, Membership::code);
        held.insert((entry.kind, entry.key), Some(Entry { tag, ..entry }));
    }
    Ok(held)
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

fn membership_of(event: &Event) -> Option<Membership> {
    let membership = starling_events::Value::new(event.pdu.content()).get("membership")?;
    Membership::parse(&membership.as_str()?)
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
        Ok(Self::of(&state_deltas(tx, &[room], after, upto)?))
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
    let newer: Vec<Entry> = shown
        .into_iter()
        .filter(|entry| entry.event.0 >= start)
        .collect();
    let mut before: Vec<Entry> = rewind(store, tx, newer, start - 1)?
        .into_values()
        .flatten()
        .collect();
    before.retain(|entry| wanted.wants(entry));
    told.append(&mut before);
    told.sort_unstable_by_key(|entry| entry.event);
    Ok(told)
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
