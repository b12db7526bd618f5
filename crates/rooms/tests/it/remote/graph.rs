//! A room as a server that is in it knows it.

use std::collections::BTreeMap;

use ruma_common::{OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use starling_events::room_version::{ReferenceForm, RoomIdForm};
use starling_events::{CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion};
use starling_stateres::auth_types;

use super::net::key_of;

/// A room of `resident.example`, made by `@owner:resident.example` and open to all.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) version: RoomVersion,
    pub(super) room_id: OwnedRoomId,
    pub(super) events: Vec<Pdu>,
    pub(super) state: BTreeMap<(String, String), Pdu>,
}

pub(super) const RESIDENT: &str = "resident.example";
pub(super) const OWNER: &str = "@owner:resident.example";

/// The bytes of an event as a value.
pub(super) fn value(event: &Pdu) -> Value {
    serde_json::from_slice(event.json()).unwrap()
}

/// An event as it comes from another server.
pub(super) fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

pub(super) fn content(value: &Value) -> CanonicalObject {
    CanonicalObject::from_serialize(value).unwrap()
}

impl Graph {
    pub(super) fn new(version: RoomVersion) -> Self {
        Self::with_rule(version, &json!({ "join_rule": "public" }))
    }

    pub(super) fn with_rule(version: RoomVersion, rule: &Value) -> Self {
        let room_id = format!("!room{version}:resident.example");
        Self::named(version, room_id.try_into().unwrap(), rule)
    }

    pub(super) fn named(version: RoomVersion, room_id: OwnedRoomId, rule: &Value) -> Self {
        let mut graph = Self {
            version,
            room_id,
            events: Vec::new(),
            state: BTreeMap::new(),
        };
        let create = json!({ "room_version": version.as_str(), "creator": OWNER });
        let create = graph.add(OWNER, ("m.room.create", Some("")), &create);
        graph.room_id = create.room_id().to_owned();
        graph.add(
            OWNER,
            ("m.room.member", Some(OWNER)),
            &json!({ "membership": "join" }),
        );
        let levels = if version.rules().privileged_creators {
            json!({ "invite": 0 })
        } else {
            json!({ "invite": 0, "users": { OWNER: 100 } })
        };
        graph.add(OWNER, ("m.room.power_levels", Some("")), &levels);
        graph.add(OWNER, ("m.room.join_rules", Some("")), rule);
        graph.add(
            OWNER,
            ("m.room.name", Some("")),
            &json!({ "name": "Far away" }),
        );
        graph
    }

    /// An event on the newest one, signed by its sender's server, which is now in the room.
    pub(super) fn add(&mut self, sender: &str, kind: (&str, Option<&str>), said: &Value) -> Pdu {
        let event = self.make(sender, kind, said);
        self.take(event.clone());
        event
    }

    /// The event is in the room.
    pub(super) fn take(&mut self, event: Pdu) {
        if let Some(key) = event.state_key() {
            let key = (event.kind().to_owned(), key.to_owned());
            self.state.insert(key, event.clone());
        }
        self.events.push(event);
    }

    /// The event is not in the room.
    pub(super) fn make(&self, sender: &str, kind: (&str, Option<&str>), said: &Value) -> Pdu {
        let sender: OwnedUserId = sender.try_into().unwrap();
        let server = sender.server_name().to_owned();
        let builder = self.builder(sender, kind, said);
        builder
            .build(self.version, &server, &key_of(server.as_str()))
            .unwrap()
    }

    pub(super) fn builder(
        &self,
        sender: OwnedUserId,
        (kind, key): (&str, Option<&str>),
        said: &Value,
    ) -> EventBuilder {
        let content = content(said);
        let types = auth_types(self.version, kind, &sender, key, content.as_bytes());
        let auth: Vec<EventReference> = types
            .into_iter()
            .filter_map(|(kind, key)| self.state.get(&(kind.to_owned(), key.into_owned())))
            .map(EventReference::of)
            .collect();
        let by_hash = self.version.rules().room_id == RoomIdForm::CreateEventHash;
        let has_id = kind != "m.room.create" || !by_hash;
        EventBuilder {
            room_id: has_id.then(|| self.room_id.clone()),
            sender,
            kind: kind.to_owned(),
            state_key: key.map(str::to_owned),
            content,
            redacts: None,
            origin_server_ts: 1_600_000_000_000,
            depth: i64::try_from(self.events.len()).unwrap() + 1,
            prev_events: self
                .events
                .last()
                .map(EventReference::of)
                .into_iter()
                .collect(),
            auth_events: auth,
        }
    }

    /// What `make_join` and its like answer.
    pub(super) fn template(&self, user: &str, said: &Value) -> Value {
        let user_id: OwnedUserId = user.try_into().unwrap();
        let builder = self.builder(user_id, ("m.room.member", Some(user)), said);
        let name = |reference: &EventReference| match self.version.rules().references {
            ReferenceForm::Ids => json!(reference.event_id),
            ReferenceForm::WithHashes => {
                let hash = starling_events::unpadded_base64::encode(&reference.hash.unwrap());
                json!([reference.event_id, { "sha256": hash }])
            }
        };
        let names =
            |references: &[EventReference]| -> Vec<Value> { references.iter().map(name).collect() };
        let event = json!({
            "type": "m.room.member",
            "room_id": self.room_id,
            "sender": user,
            "state_key": user,
            "content": said,
            "depth": builder.depth,
            "origin_server_ts": 1,
            "prev_events": names(&builder.prev_events),
            "auth_events": names(&builder.auth_events),
        });
        json!({ "room_version": self.version.as_str(), "event": event })
    }

    /// What `send_join` answers: the state, and all events as those that allow it.
    pub(super) fn answer(&self) -> Value {
        let state: Vec<Value> = self.state.values().map(value).collect();
        let chain: Vec<Value> = self.events.iter().map(value).collect();
        json!({ "state": state, "auth_chain": chain })
    }
}
