//! What must hold in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruma_common::{OwnedRoomId, RoomId};
use starling_db::{Error, Tx};
use starling_events::Pdu;
use starling_store::RoomNum;
use starling_store::events::Status;
use starling_store::inbox::{Waiting, inbox_read, inbox_rooms};
use starling_store::names::types;

use super::evidence::{Evidence, content_text};
use super::host::Host;
use super::hostile::{FORGED, NOT_ALLOWED};
use super::model::{Acknowledged, Model};
use super::visibility::check_read;

/// What was checked, and what doesn't hold.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What doesn't hold.
    pub(super) failures: Vec<String>,
    /// The rooms in which something doesn't hold, and their events.
    pub(super) failed_rooms: Vec<String>,
    /// Events that were read, each by each user.
    pub(super) read: usize,
    /// Those of them that only a membership by another event than those before it lets the user read.
    pub(super) read_over_forks: u64,
    /// Pairs of servers whose state was compared.
    pub(super) states: u64,
    /// Events that must be on a server, and servers.
    pub(super) deliveries: u64,
    /// Those of them that the server doesn't show.
    pub(super) soft_failed: u64,
    /// Those of them that are there, and in no timeline.
    pub(super) unplaced: u64,
    /// Events that were sent to a server while it joined, and aren't there.
    pub(super) missed_joining: u64,
}

/// Checks one room on all hosts, of which `honest` come first.
pub(super) fn check_room(
    room_id: &RoomId,
    evidence: &Evidence,
    (hosts, honest): (&[Arc<Host>], usize),
    model: &Model,
    findings: &mut Findings,
) {
    let acknowledged = model.acknowledged.iter();
    let acknowledged: Vec<&Acknowledged> = acknowledged
        .filter(|event| event.room_id == *room_id && event.host < honest)
        .collect();
    let room = Room {
        id: room_id,
        evidence,
        hosts: hosts.get(..honest).unwrap_or(hosts),
        model,
    };
    room.nothing_is_lost(&acknowledged, findings);
    room.all_is_delivered(&acknowledged, findings);
    room.states_are_the_same(findings);
    room.no_lie_counts(findings);
    for number in 0..room.hosts.len() {
        check_read(room_id, evidence, (number, model), findings);
    }
}

struct Room<'a> {
    id: &'a RoomId,
    evidence: &'a Evidence,
    hosts: &'a [Arc<Host>],
    model: &'a Model,
}

impl Room<'_> {
    fn nothing_is_lost(&self, acknowledged: &[&Acknowledged], findings: &mut Findings) {
        for event in acknowledged {
            let held = self.evidence.hosts.get(event.host);
            let held = held.and_then(|held| held.events.get(&event.event_id));
            let problem = match held {
                None => "is lost",
                Some(held) if held.status == Status::Rejected => "is rejected",
                // A join of who had joined before is no new event, and may have come with the room's state.
                Some(held) if held.place.is_none() && held.kind != types::MEMBER => "has no place",
                Some(_) => continue,
            };
            findings.failures.push(format!(
                "{} of {} was acknowledged at {} by host {} and {problem} there",
                event.event_id, self.id, event.at_ms, event.host
            ));
        }
    }

    /// Every event that follows the join of a user who was never to leave is on that user's server.
    fn all_is_delivered(&self, acknowledged: &[&Acknowledged], findings: &mut Findings) {
        let graph = &self.evidence.graph;
        for (number, host) in self.hosts.iter().enumerate() {
            let held = self.evidence.hosts.get(number);
            let Some(held) = held.filter(|held| held.is_inside(host.name())) else {
                continue;
            };
            // Those that the host itself has told its users of: the answer to another may have been lost.
            let joins: Vec<_> = acknowledged
                .iter()
                .filter(|event| event.host == number)
                .filter_map(|event| Some((graph.pdus.get(&event.event_id)?, event.at_ms)))
                .filter(|(pdu, _)| self.is_steady(pdu, host))
                .filter(|(pdu, _)| content_text(pdu, "membership") == "join")
                .collect();
            for event in acknowledged.iter().filter(|event| event.host != number) {
                let id = &event.event_id;
                if !event.servers.contains(host.name()) {
                    continue;
                }
                let after = joins
                    .iter()
                    .filter(|(join, _)| graph.is_before(join.event_id(), id));
                let Some(joined_ms) = after.map(|(_, at_ms)| *at_ms).min() else {
                    continue;
                };
                if event.at_ms < joined_ms {
                    findings.missed_joining += u64::from(!held.events.contains_key(id));
                    continue;
                }
                findings.deliveries += 1;
                let problem = match held.events.get(id) {
                    None => "isn't there",
                    Some(held) if held.status == Status::Rejected => "is rejected",
                    Some(held) if held.status == Status::SoftFailed => {
                        findings.soft_failed += 1;
                        continue;
                    }
                    Some(held) if held.place.is_none() => {
                        findings.unplaced += 1;
                        continue;
                    }
                    Some(_) => continue,
                };
                let kind = graph.pdus.get(id).map_or("?", |pdu| pdu.kind());
                findings.failures.push(format!(
                    "{kind} {id} of {} was sent at {} by host {} to host {number}, where it {problem}",
                    self.id, event.at_ms, event.host
                ));
            }
        }
    }

    /// Whether it is of a user of the host whom nobody, themselves included, ever tried to remove from the room.
    fn is_steady(&self, member: &Pdu, host: &Host) -> bool {
        let user = member
            .state_key()
            .filter(|_| member.kind() == "m.room.member");
        let Some(user) = user else { return false };
        let is_own = user
            .split_once(':')
            .is_some_and(|(_, server)| server == host.name());
        let unsteady = (self.id.to_owned(), user.to_owned());
        is_own && !self.model.unsteady.contains(&unsteady)
    }

    /// What the hostile server forged, or may not say, is part of the room nowhere.
    fn no_lie_counts(&self, findings: &mut Findings) {
        let honest = self.evidence.hosts.iter().take(self.hosts.len());
        for (number, held) in honest.enumerate() {
            for event in held.events.values() {
                let is_forged = content_text(&event.pdu, "body") == FORGED;
                let is_refused = content_text(&event.pdu, "topic") == NOT_ALLOWED;
                let counts = event.status != Status::Rejected;
                if is_forged || (is_refused && counts) {
                    let id = event.pdu.event_id();
                    findings
                        .failures
                        .push(format!("host {number} believes {id}, a lie"));
                }
            }
        }
    }

    /// Servers that are in the room, also as the others know, agree on what comes last in it, and on its state.
    fn states_are_the_same(&self, findings: &mut Findings) {
        let inside = |(number, host): (usize, &Arc<Host>)| {
            let held = self.evidence.hosts.get(number)?;
            let is_inside = held.is_inside(host.name());
            is_inside.then_some((number, held))
        };
        let inside: Vec<_> = self.hosts.iter().enumerate().filter_map(inside).collect();
        for pair in inside.windows(2) {
            let [(one, held), (other, theirs)] = pair else {
                continue;
            };
            let name = |number: usize| self.hosts.get(number).map_or("", |host| host.name());
            if !held.is_inside(name(*other)) || !theirs.is_inside(name(*one)) {
                continue;
            }
            if held.extremities != theirs.extremities {
                findings.failures.push(format!(
                    "{}: hosts {one} and {other} end in other events: {:?} and {:?}",
                    self.id, held.extremities, theirs.extremities
                ));
                continue;
            }
            findings.states += 1;
            let difference = held
                .state
                .iter()
                .find(|event| !theirs.state.contains(event))
                .or_else(|| {
                    theirs
                        .state
                        .iter()
                        .find(|event| !held.state.contains(event))
                });
            if let Some(event) = difference {
                findings.failures.push(format!(
                    "{}: hosts {one} and {other} have other states: {event:?} is in one of them",
                    self.id
                ));
            }
        }
    }
}

/// The events that wait in the inbox of a host, by rooms.
async fn inbox(host: &Host) -> Vec<(RoomNum, Vec<Waiting>)> {
    let store = host.store().expect("the host is up");
    let read = move |tx: &mut Tx<'_>| {
        let mut waiting = Vec::new();
        for room in inbox_rooms(tx)? {
            waiting.push((room, inbox_read(tx, room, 10_000)?));
        }
        Ok::<_, Error>(waiting)
    };
    store.db().read("waiting", read).await.expect("it is read")
}

/// How many events wait in the inbox of a host.
pub(super) async fn inbox_rows_of(host: &Host) -> usize {
    inbox(host)
        .await
        .iter()
        .map(|(_, events)| events.len())
        .sum()
}

/// How many events of other honest servers wait in the inbox of a host, by rooms in which those servers know it: to
/// others they say nothing of the room.
pub(super) async fn waiting(host: &Host, honest: &[Arc<Host>]) -> BTreeMap<OwnedRoomId, usize> {
    let store = host.store().expect("the host is up");
    let mut counts = BTreeMap::new();
    for (room, events) in inbox(host).await {
        let snapshot = store.room(room).await.expect("it is read");
        let Some(snapshot) = snapshot else { continue };
        for event in events {
            let origin = honest.iter().find(|it| it.name() == event.origin.as_str());
            let Some(origin) = origin else { continue };
            let servers = origin.servers_in(&snapshot.room_id).await;
            if servers.is_some_and(|servers| servers.contains(host.name())) {
                *counts.entry(snapshot.room_id.clone()).or_default() += 1;
            }
        }
    }
    counts
}
