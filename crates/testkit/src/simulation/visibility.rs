//! An oracle of its own for who may read what: by how events follow each other, without states.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>
//!
//! Where branches differ, any of their latest memberships and visibilities may hold: so it allows more than a server does,
//! and says only of what is certainly wrong that it is.

use std::collections::BTreeSet;

use ruma_common::{OwnedEventId, RoomId};
use starling_events::Pdu;
use starling_store::events::Status;

use super::checks::Findings;
use super::evidence::{Evidence, Graph, Held, content_text};
use super::model::Model;

/// Checks what the users of one host have read in a room.
pub(super) fn check_read(
    room_id: &RoomId,
    evidence: &Evidence,
    (number, model): (usize, &Model),
    findings: &mut Findings,
) {
    let Some(held) = evidence.hosts.get(number) else {
        return;
    };
    let readers = model.read.iter();
    let readers = readers.filter(|((host, room, _), _)| *host == number && room == room_id);
    for ((_, _, user), read) in readers {
        let reader = Reader {
            user,
            held,
            graph: &evidence.graph,
        };
        reader.check(read, findings);
    }
}

struct Reader<'a> {
    user: &'a str,
    held: &'a Held,
    graph: &'a Graph,
}

impl Reader<'_> {
    fn check(&self, read: &BTreeSet<OwnedEventId>, findings: &mut Findings) {
        for id in read {
            findings.read += 1;
            let Some(pdu) = self.graph.pdus.get(id) else {
                let failure = format!("{} was shown {id}, which nobody has", self.user);
                findings.failures.push(failure);
                continue;
            };
            if !self.counts(pdu) {
                let failure = format!("{} was shown {id}, which was refused", self.user);
                findings.failures.push(failure);
            }
            if pdu.kind() == "m.room.member" && pdu.state_key() == Some(self.user) {
                // What they are themselves, users learn in any case, such as a ban from a room that they never were in.
                continue;
            }
            let (memberships, visibilities) = (self.memberships(pdu), self.visibilities(pdu));
            let may = |memberships: &BTreeSet<String>| {
                let mut all = visibilities.iter();
                all.any(|visibility| self.may_read(pdu, visibility, memberships))
            };
            if may(&memberships) {
                continue;
            }
            if may(&self.memberships_beside(pdu)) {
                findings.read_over_forks += 1;
            } else {
                findings.failures.push(format!(
                    "{} was shown {} {id}, when they were {memberships:?} and history was {visibilities:?}",
                    self.user,
                    pdu.kind()
                ));
            }
        }
    }

    /// Whether the user's own server shows the event.
    fn counts(&self, pdu: &Pdu) -> bool {
        let event = self.held.events.get(pdu.event_id());
        event.is_some_and(|event| event.status == Status::Accepted)
    }

    /// Whether it may be part of a state, as the user's own server sees it.
    fn may_count(&self, pdu: &Pdu) -> bool {
        let event = self.held.events.get(pdu.event_id());
        event.is_none_or(|event| event.status != Status::Rejected)
    }

    /// What the user may have been when the event was sent.
    fn memberships(&self, pdu: &Pdu) -> BTreeSet<String> {
        self.values(pdu, ("m.room.member", self.user), "membership")
    }

    /// What the user became by events that this one doesn't follow. A server that knows memberships by the order in which
    /// events came may take these to hold for it, too.
    fn memberships_beside(&self, pdu: &Pdu) -> BTreeSet<String> {
        let members = self.graph.of_key("m.room.member", self.user);
        let is_beside = |member: &&Pdu| {
            self.may_count(member) && !self.graph.is_before(member.event_id(), pdu.event_id())
        };
        let beside = members.filter(is_beside);
        beside
            .map(|member| content_text(member, "membership"))
            .collect()
    }

    /// Who may have been allowed to see what was sent then.
    fn visibilities(&self, pdu: &Pdu) -> BTreeSet<String> {
        let key = ("m.room.history_visibility", "");
        let mut all = self.values(pdu, key, "history_visibility");
        if all.is_empty() {
            all.insert("shared".to_owned());
        }
        all
    }

    /// What a key of the state may have said before the event, or by it.
    fn values(&self, pdu: &Pdu, (kind, key): (&str, &str), field: &str) -> BTreeSet<String> {
        let all = self
            .graph
            .of_key(kind, key)
            .filter(|pdu| self.may_count(pdu));
        let mut values: BTreeSet<String> = self
            .graph
            .latest_before(pdu.event_id(), all)
            .into_iter()
            .map(|pdu| content_text(pdu, field))
            .collect();
        if pdu.kind() == kind && pdu.state_key() == Some(key) {
            values.insert(content_text(pdu, field));
        }
        values
    }

    fn may_read(&self, pdu: &Pdu, visibility: &str, memberships: &BTreeSet<String>) -> bool {
        let was = |membership: &str| memberships.contains(membership);
        match visibility {
            "world_readable" => true,
            _ if was("join") => true,
            "invited" => was("invite"),
            "joined" => false,
            // Shared, or something that isn't known.
            _ => self.joins_later(pdu),
        }
    }

    /// Whether the user has joined since, or where it isn't known of the event.
    fn joins_later(&self, pdu: &Pdu) -> bool {
        let members = self.graph.of_key("m.room.member", self.user);
        let mut joins = members.filter(|member| content_text(member, "membership") == "join");
        joins.any(|join| {
            self.may_count(join) && !self.graph.is_before(join.event_id(), pdu.event_id())
        })
    }
}
