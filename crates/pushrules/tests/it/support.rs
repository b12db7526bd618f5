//! Events and situations for the tests.

use ruma_common::OwnedEventId;
use serde_json::{Value, json};
use starling_events::{CanonicalObject, Pdu, RoomVersion};
use starling_pushrules::{
    Budget, EventView, Kind, Place, Room, Rule, RuleBody, Ruleset, Situation,
};

pub(crate) const ALICE: &str = "@alice:example.org";
pub(crate) const ROOM: &str = "!room:example.org";

/// An event from its interesting parts; the rest is filled in.
pub(crate) fn event(parts: &Value) -> Pdu {
    let mut event = json!({
        "auth_events": [], "content": {}, "depth": 1, "hashes": {"sha256": ""}, "origin_server_ts": 1,
        "prev_events": [], "room_id": ROOM, "sender": "@bob:example.org", "signatures": {}, "type": "m.room.message",
    });
    for (name, value) in parts.as_object().unwrap() {
        event[name] = value.clone();
    }
    let event_id = OwnedEventId::try_from("$HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH").unwrap();
    let bytes = CanonicalObject::from_serialize(&event).unwrap();
    Pdu::from_stored(RoomVersion::V11, event_id, bytes.as_bytes().into()).unwrap()
}

pub(crate) fn message(body: &str) -> Value {
    json!({"content": {"msgtype": "m.text", "body": body}})
}

/// Who looks at an event, and where.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) members: i64,
    pub(crate) name: Option<&'a str>,
    /// What the sender may notify with.
    pub(crate) may: &'a [&'a str],
}

impl Default for Scene<'_> {
    fn default() -> Self {
        Self {
            members: 3,
            name: None,
            may: &[],
        }
    }
}

impl Scene<'_> {
    pub(crate) fn room(&self) -> Room<'static> {
        Room {
            room_id: ROOM,
            member_count: self.members,
        }
    }

    /// The rule that decides for Alice, if there is one.
    pub(crate) fn decides<'r>(&self, ruleset: &'r Ruleset, pdu: &Pdu) -> Option<&'r Rule> {
        self.decides_within(&Budget::default(), ruleset, pdu)
    }

    pub(crate) fn decides_within<'r>(
        &self,
        budget: &Budget,
        ruleset: &'r Ruleset,
        pdu: &Pdu,
    ) -> Option<&'r Rule> {
        let view = EventView::new(pdu);
        ruleset.evaluate(&Situation {
            event: &view,
            room: self.room(),
            user_id: ALICE,
            display_name: self.name,
            may_notify: &|key| self.may.contains(&key),
            budget,
        })
    }
}

/// The id of the rule that decides on an event in an ordinary room, or nothing.
pub(crate) fn decision<'r>(ruleset: &'r Ruleset, parts: &Value) -> &'r str {
    decision_in(Scene::default(), ruleset, parts)
}

pub(crate) fn decision_in<'r>(scene: Scene<'_>, ruleset: &'r Ruleset, parts: &Value) -> &'r str {
    scene.decides(ruleset, &event(parts)).map_or("", Rule::id)
}

/// The predefined rules, and one override rule with these conditions that notifies.
pub(crate) fn with_conditions(conditions: Value) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let body = RuleBody {
        actions: vec![json!("notify")],
        conditions: serde_json::from_value(conditions).unwrap(),
        pattern: None,
    };
    ruleset
        .put(Kind::Override, "mine", body, &Place::default())
        .unwrap();
    ruleset
}

pub(crate) fn put(ruleset: &mut Ruleset, kind: Kind, id: &str, actions: Value) {
    let body = RuleBody {
        actions: serde_json::from_value(actions).unwrap(),
        conditions: Vec::new(),
        pattern: Some(id.to_owned()),
    };
    ruleset.put(kind, id, body, &Place::default()).unwrap();
}
