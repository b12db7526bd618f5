//! The state of a room that its replacement takes over.
//! <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-17>

use std::sync::Arc;

use ruma_common::ServerName;
use serde_json::{Map, Value, json};
use starling_db::{Error, Tx};
use starling_events::{CanonicalObject, Pdu, RoomVersion};
use starling_store::events::Event;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::room_details::public_read;
use starling_store::rooms::RoomSnapshot;
use starling_store::{EventNum, RoomNum, Store};

use crate::create::TOMBSTONE;
use crate::federation::{SERVER_ACL, ServerAcl};

/// What is taken over, in the order in which it is in the new room. The specification recommends all but the canonical
/// alias, which goes where the aliases go.
const CARRIED: [&str; 9] = [
    "m.room.canonical_alias",
    JOIN_RULES,
    "m.room.history_visibility",
    "m.room.guest_access",
    SERVER_ACL,
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
];

const JOIN_RULES: &str = "m.room.join_rules";

/// A space without its rooms would be no space.
const SPACE_CHILD: &str = "m.space.child";

/// How many rooms a new space has at once: it is made in one transaction, as any room is. What a larger one has beyond
/// that stays behind, for its administrators to add.
const MAX_CHILDREN: usize = 200;

/// Which events a replacement is made from, and whether each was redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Basis(Vec<(EventNum, bool)>);

impl Basis {
    pub(super) fn of(events: &[Arc<Event>]) -> Self {
        let events = events.iter();
        let mut events: Vec<_> = events
            .map(|event| (event.num, event.redacted_by.is_some()))
            .collect();
        events.sort_unstable();
        Self(events)
    }
}

/// The state of a room that decides what its replacement is like, in no order.
pub(super) fn decisive(
    store: &Store,
    tx: &mut Tx<'_>,
    snapshot: &RoomSnapshot,
) -> Result<Vec<Arc<Event>>, Error> {
    let wanted = [types::CREATE, types::POWER_LEVELS];
    let mut numbers: Vec<EventNum> = wanted
        .iter()
        .filter_map(|kind| snapshot.state_event(*kind, EMPTY_KEY))
        .collect();
    for kind in CARRIED.into_iter().chain([TOMBSTONE]) {
        let kind = store.names().kind(tx, kind)?;
        numbers.extend(kind.and_then(|kind| snapshot.state_event(kind, EMPTY_KEY)));
    }
    if let Some(child) = store.names().kind(tx, SPACE_CHILD)? {
        let children = snapshot.state.others().filter(|entry| entry.kind == child);
        numbers.extend(children.take(MAX_CHILDREN).map(|entry| entry.event));
    }
    store.events_read(tx, &numbers)
}

/// A room that is to be replaced.
#[derive(Debug)]
pub(super) struct OldRoom {
    pub(super) snapshot: Arc<RoomSnapshot>,
    /// Whether the directory lists it.
    pub(super) is_public: bool,
    pub(super) create: Pdu,
    pub(super) levels: Option<Pdu>,
    /// What ended it, if it was replaced before.
    pub(super) end: Option<EventNum>,
    /// What its replacement is made from.
    pub(super) basis: Basis,
    /// What is taken over, in no order.
    state: Vec<Arc<Event>>,
}

impl OldRoom {
    /// The room as committed, or `None` if there is no such room.
    pub(super) fn read(
        store: &Store,
        tx: &mut Tx<'_>,
        room: RoomNum,
    ) -> Result<Option<Self>, Error> {
        let Some(snapshot) = store.room_read(tx, room)? else {
            return Ok(None);
        };
        let mut state = decisive(store, tx, &snapshot)?;
        let basis = Basis::of(&state);
        let mut take = |kind: &str| {
            let index = state.iter().position(|event| event.pdu.kind() == kind)?;
            Some(state.swap_remove(index))
        };
        let create = take("m.room.create").map(|event| event.pdu.clone());
        let create =
            create.ok_or_else(|| Error::Damaged(format!("room {} has no create event", room.0)))?;
        let levels = take("m.room.power_levels").map(|event| event.pdu.clone());
        let end = take(TOMBSTONE).map(|event| event.num);
        Ok(Some(Self {
            is_public: public_read(tx, room)?,
            snapshot,
            create,
            levels,
            end,
            basis,
            state,
        }))
    }

    /// What the new create event has from the old one.
    pub(super) fn creation(&self) -> Map<String, Value> {
        let mut creation = object(&self.create);
        creation.retain(|key, _| matches!(key.as_str(), "type" | "m.federate"));
        creation
    }

    /// The state events of the new room: type, state key, content. What cannot stand in an event of today (as in the
    /// oldest versions) is left behind, and so is an access control list that excludes `server`, which makes the new room:
    /// nobody else could come into it.
    pub(super) fn carried(
        &self,
        version: RoomVersion,
        server: &ServerName,
    ) -> Vec<(String, String, CanonicalObject)> {
        let place = |event: &Arc<Event>| {
            let listed = CARRIED.iter().position(|kind| *kind == event.pdu.kind());
            (listed.unwrap_or(CARRIED.len()), event.num)
        };
        let is_space = self.creation().get("type") == Some(&json!("m.space"));
        let mut events: Vec<&Arc<Event>> = self.state.iter().collect();
        events.sort_by_key(|event| place(event));
        let carried = events.into_iter().filter_map(|event| {
            let (kind, key) = (event.pdu.kind(), event.pdu.state_key()?);
            let mut content = object(&event.pdu);
            if kind == JOIN_RULES {
                fit_join_rule(&mut content, version);
            }
            // An empty content is how state is taken back.
            if content.is_empty() || (kind == SPACE_CHILD && !is_space) {
                return None;
            }
            let content = CanonicalObject::from_serialize(&content).ok()?;
            if kind == SERVER_ACL && !ServerAcl::parse(content.as_bytes()).allows(server) {
                return None;
            }
            Some((kind.to_owned(), key.to_owned(), content))
        });
        carried.collect()
    }
}

/// The content of an event; of one that nothing can read, nothing.
pub(super) fn object(event: &Pdu) -> Map<String, Value> {
    serde_json::from_slice(event.content()).unwrap_or_default()
}

/// A rule that the new version doesn't know would keep out even those who are invited. The next stricter one that it
/// knows stands in.
fn fit_join_rule(content: &mut Map<String, Value>, version: RoomVersion) {
    let rules = version.rules();
    let rule = content.get("join_rule").and_then(Value::as_str);
    let fitting = match rule {
        Some("knock_restricted") if !rules.knock_restricted && rules.restricted => "restricted",
        Some("knock_restricted") if !rules.knock_restricted => "invite",
        Some("restricted") if !rules.restricted => "invite",
        Some("knock") if !rules.knocking => "invite",
        _ => return,
    };
    if fitting == "invite" {
        content.remove("allow");
    }
    content.insert("join_rule".to_owned(), fitting.into());
}
