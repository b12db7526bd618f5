//! What the servers hold of a room in the end, and how its events follow each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId, RoomId};
use serde_json::Value;
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_store::events::{Event, Status};
use starling_store::snapshots::snapshot_load;

use super::client::StateEvent;
use super::host::Host;

/// A room on all hosts.
pub(super) struct Evidence {
    /// What each host has of it.
    pub(super) hosts: Vec<Held>,
    pub(super) graph: Graph,
}

/// What one host has of a room.
#[derive(Default)]
pub(super) struct Held {
    pub(super) events: BTreeMap<OwnedEventId, Arc<Event>>,
    /// Nothing when the room isn't there.
    pub(super) extremities: Option<BTreeSet<OwnedEventId>>,
    pub(super) state: Vec<StateEvent>,
}

impl Held {
    /// Whether one of the host's own users is in the room.
    pub(super) fn is_inside(&self, server: &str) -> bool {
        let is_own = |user: &str| user.split_once(':').is_some_and(|(_, name)| name == server);
        self.state
            .iter()
            .any(|event| event.is_join && is_own(&event.key))
    }
}

impl Evidence {
    /// Everything that leads to the extremities and to these events.
    pub(super) async fn of(
        hosts: &[Arc<Host>],
        room_id: &RoomId,
        events: &BTreeSet<OwnedEventId>,
    ) -> Self {
        let mut held = Vec::new();
        for host in hosts {
            held.push(of_host(host, room_id, events).await);
        }
        let mut pdus = BTreeMap::new();
        for event in held.iter().flat_map(|held| held.events.values()) {
            pdus.entry(event.pdu.event_id().to_owned())
                .or_insert_with(|| event.pdu.clone());
        }
        Self {
            hosts: held,
            graph: Graph::of(pdus),
        }
    }
}

impl Evidence {
    /// Every event of the room, each after those that it follows, and what each host makes of it: accepted (`A`), accepted
    /// and in no timeline (`a`), not shown (`S`), rejected (`R`) or not there (`-`); then which state it sees after it: a
    /// letter for each.
    pub(super) async fn table(&self, hosts: &[Arc<Host>]) -> Vec<String> {
        let mut states = Vec::new();
        for (host, held) in hosts.iter().zip(&self.hosts) {
            states.push(states_after(host, held).await);
        }
        let mut events: Vec<(&usize, &OwnedEventId)> = self
            .graph
            .numbers
            .iter()
            .map(|(id, number)| (number, id))
            .collect();
        events.sort();
        let line = |(number, id): (&usize, &OwnedEventId)| {
            let pdu = self.graph.pdus.get(id)?;
            let hosts = self.hosts.iter().map(|held| match held.events.get(id) {
                None => '-',
                Some(event) => match (event.status, event.place) {
                    (Status::Rejected, _) => 'R',
                    (Status::SoftFailed, _) => 'S',
                    (Status::Accepted, None) => 'a',
                    (Status::Accepted, Some(_)) => 'A',
                },
            });
            let mut seen: Vec<&BTreeSet<OwnedEventId>> = Vec::new();
            let mut after = String::new();
            for state in states.iter().map(|states| states.get(id)) {
                let Some(state) = state else {
                    after.push('-');
                    continue;
                };
                let class = seen.iter().position(|other| *other == state);
                let class = class.unwrap_or_else(|| {
                    seen.push(state);
                    seen.len() - 1
                });
                after.push(char::from(b'p' + u8::try_from(class).unwrap_or(9)));
            }
            let differing = seen.iter().flat_map(|state| {
                let all = seen.iter();
                state
                    .iter()
                    .filter(move |id| !all.clone().all(|other| other.contains(*id)))
            });
            let differing: BTreeSet<usize> = differing
                .filter_map(|id| self.graph.numbers.get(id).copied())
                .collect();
            let prev = pdu.prev_events().iter();
            let prev: Vec<String> = prev
                .map(|id| {
                    self.graph
                        .numbers
                        .get(id)
                        .map_or("?".to_owned(), usize::to_string)
                })
                .collect();
            Some(format!(
                "{number:3} {} {after} {differing:?} {id} {} at {} {:?} by {} after {}: {}",
                hosts.collect::<String>(),
                pdu.kind(),
                pdu.origin_server_ts(),
                pdu.state_key(),
                pdu.sender(),
                prev.join(","),
                String::from_utf8_lossy(pdu.content())
            ))
        };
        events.into_iter().filter_map(line).collect()
    }
}

/// The state after each event that a host has one of.
async fn states_after(host: &Host, held: &Held) -> BTreeMap<OwnedEventId, BTreeSet<OwnedEventId>> {
    let store = host.store().expect("the host is up");
    let mut states = BTreeMap::new();
    for (id, event) in &held.events {
        let Some(snapshot) = event.snapshot else {
            continue;
        };
        let read = move |tx: &mut Tx<'_>| snapshot_load(tx, snapshot);
        let state = store
            .db()
            .read("snapshot", read)
            .await
            .expect("it is read")
            .0;
        let numbers: Vec<_> = state.iter().map(|entry| entry.event).collect();
        let events = store.events_load(&numbers).await.expect("they are read");
        let ids = events.iter().map(|event| event.pdu.event_id().to_owned());
        states.insert(id.clone(), ids.collect());
    }
    states
}

async fn of_host(host: &Host, room_id: &RoomId, events: &BTreeSet<OwnedEventId>) -> Held {
    let store = host.store().expect("the host is up");
    let Some(room) = store.room_num(room_id).await.expect("it is read") else {
        return Held::default();
    };
    let snapshot = store.room(room).await.expect("it is read");
    let snapshot = snapshot.filter(|snapshot| snapshot.append_count > 0);
    let extremities: Option<BTreeSet<OwnedEventId>> = snapshot.map(|snapshot| {
        let extremities = snapshot.extremities.iter();
        extremities
            .map(|it| it.reference.event_id.clone())
            .collect()
    });
    let ahead: BTreeSet<OwnedEventId> = events
        .iter()
        .chain(extremities.iter().flatten())
        .cloned()
        .collect();
    let reading = store.clone();
    let read = move |tx: &mut Tx<'_>| {
        let mut found = BTreeMap::new();
        let (mut ahead, mut asked) = (ahead.clone(), ahead);
        while !ahead.is_empty() {
            let ids: Vec<&str> = ahead.iter().map(|id| id.as_str()).collect();
            let events = reading.events_by_id(tx, &ids)?;
            ahead = BTreeSet::new();
            for event in events.into_iter().filter(|event| event.room == room) {
                let cited = event
                    .pdu
                    .prev_events()
                    .iter()
                    .chain(event.pdu.auth_events());
                ahead.extend(cited.filter(|id| asked.insert((*id).clone())).cloned());
                found.insert(event.pdu.event_id().to_owned(), event);
            }
        }
        Ok::<_, Error>(found)
    };
    let events = store.db().scan("evidence", read).await.expect("it is read");
    Held {
        events,
        extremities,
        state: host.state(room_id).await.unwrap_or_default(),
    }
}

/// How events follow each other.
pub(super) struct Graph {
    pub(super) pdus: BTreeMap<OwnedEventId, Pdu>,
    numbers: BTreeMap<OwnedEventId, usize>,
    /// Of each event, those before it: as bits.
    before: Vec<Vec<u64>>,
}

impl Graph {
    fn of(pdus: BTreeMap<OwnedEventId, Pdu>) -> Self {
        let mut graph = Self {
            numbers: BTreeMap::new(),
            before: Vec::new(),
            pdus: BTreeMap::new(),
        };
        let words = pdus.len().div_ceil(64);
        for start in pdus.keys() {
            graph.number(&pdus, start, words);
        }
        graph.pdus = pdus;
        graph
    }

    /// Gives an event its number, after all that it follows.
    fn number(&mut self, pdus: &BTreeMap<OwnedEventId, Pdu>, start: &EventId, words: usize) {
        let mut begun = BTreeSet::new();
        let mut path: Vec<(OwnedEventId, bool)> = vec![(start.to_owned(), false)];
        while let Some((id, is_done)) = path.pop() {
            let Some(pdu) = pdus.get(&id) else { continue };
            if self.numbers.contains_key(&id) {
                continue;
            }
            if !is_done {
                if begun.insert(id.clone()) {
                    path.push((id, true));
                    path.extend(pdu.prev_events().iter().map(|id| (id.clone(), false)));
                }
                continue;
            }
            let mut before = vec![0; words];
            for number in pdu
                .prev_events()
                .iter()
                .filter_map(|id| self.numbers.get(id))
            {
                let theirs = self.before.get(*number).into_iter().flatten();
                for (word, other) in before.iter_mut().zip(theirs) {
                    *word |= *other;
                }
                if let Some(word) = before.get_mut(number / 64) {
                    *word |= 1 << (number % 64);
                }
            }
            self.numbers.insert(id, self.before.len());
            self.before.push(before);
        }
    }

    /// Whether one event comes before another.
    pub(super) fn is_before(&self, one: &EventId, other: &EventId) -> bool {
        let (Some(one), Some(other)) = (self.numbers.get(one), self.numbers.get(other)) else {
            return false;
        };
        let word = self
            .before
            .get(*other)
            .and_then(|words| words.get(one / 64));
        word.is_some_and(|word| word & (1 << (one % 64)) != 0)
    }

    /// Of these events, those that are before `event` and that no other of them follows that is.
    pub(super) fn latest_before<'a>(
        &self,
        event: &EventId,
        among: impl Iterator<Item = &'a Pdu>,
    ) -> Vec<&'a Pdu> {
        let before: Vec<&Pdu> = among
            .filter(|pdu| self.is_before(pdu.event_id(), event))
            .collect();
        let is_followed = |pdu: &Pdu| {
            let mut others = before.iter();
            others.any(|other| self.is_before(pdu.event_id(), other.event_id()))
        };
        before
            .iter()
            .copied()
            .filter(|pdu| !is_followed(pdu))
            .collect()
    }

    /// The state events of a type and state key.
    pub(super) fn of_key<'a>(
        &'a self,
        kind: &'a str,
        key: &'a str,
    ) -> impl Iterator<Item = &'a Pdu> {
        self.pdus
            .values()
            .filter(move |pdu| pdu.kind() == kind && pdu.state_key() == Some(key))
    }
}

/// A field of an event's content that is a text.
pub(super) fn content_text(pdu: &Pdu, key: &str) -> String {
    let content: Value = serde_json::from_slice(pdu.content()).expect("JSON");
    let text = content.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
