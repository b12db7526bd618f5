//! Relationships between events: what an event's `m.relates_to` says.
//! <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>

use ruma_common::OwnedEventId;
use starling_events::id::parse_event_id;
use starling_events::{Pdu, Value};

/// The longest type of a relationship that is taken, in bytes: what an event's type may have.
pub const MAX_REL_TYPE_BYTES: usize = 255;

/// `m.thread`: the event belongs to the thread that its target begins.
pub const THREAD: &str = "m.thread";

/// `m.replace`: the event says anew what its target said.
pub const REPLACE: &str = "m.replace";

/// `m.annotation`: the event is a reaction to its target.
pub const ANNOTATION: &str = "m.annotation";

/// `m.reference`: the event refers to its target.
pub const REFERENCE: &str = "m.reference";

/// How an event says that it relates to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The type of the relationship.
    pub rel_type: Box<str>,
    /// The event that it relates to. Nobody has checked that there is one, nor that it is in the same room.
    pub target: OwnedEventId,
}

/// The relationship that an event's `m.relates_to` gives, if it has what the schema wants: a `rel_type` (a reply alone
/// has none) and the id of an event that could be in the event's room.
/// <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>
#[must_use]
pub fn relation_of(pdu: &Pdu) -> Option<Relation> {
    let relates_to = Value::new(pdu.content()).get("m.relates_to")?;
    let rel_type = relates_to.get("rel_type")?.as_str()?;
    if rel_type.is_empty() || rel_type.len() > MAX_REL_TYPE_BYTES {
        return None;
    }
    let target = relates_to.get("event_id")?.as_str()?;
    Some(Relation {
        rel_type: rel_type.into(),
        target: parse_event_id(pdu.version(), &target).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use ruma_common::OwnedEventId;
    use serde_json::{Value, json};
    use starling_events::{Pdu, RoomVersion};

    use super::{MAX_REL_TYPE_BYTES, relation_of};

    const TARGET: &str = "$HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH";

    fn event(version: RoomVersion, content: &Value) -> Pdu {
        let event = json!({
            "auth_events": [], "content": content, "depth": 1, "event_id": "$event:example.org", "hashes": {"sha256": ""}, "origin_server_ts": 1,
            "prev_events": [], "room_id": "!room:example.org", "sender": "@alice:example.org", "signatures": {},
            "type": "m.room.message",
        });
        let event_id = OwnedEventId::try_from("$event:example.org").expect("an event id");
        let bytes = starling_events::CanonicalObject::from_serialize(&event).expect("canonical");
        Pdu::from_stored(version, event_id, bytes.as_bytes().into()).expect("an event")
    }

    fn relation(version: RoomVersion, relates_to: &Value) -> Option<(String, String)> {
        let relation = relation_of(&event(version, &json!({"m.relates_to": relates_to})))?;
        Some((relation.rel_type.into(), relation.target.to_string()))
    }

    #[test]
    fn a_relation_is_a_type_and_a_target() {
        let thread = json!({"rel_type": "m.thread", "event_id": TARGET, "is_falling_back": true,
            "m.in_reply_to": {"event_id": "$other"}});
        let expected = Some(("m.thread".to_owned(), TARGET.to_owned()));
        assert_eq!(relation(RoomVersion::V11, &thread), expected);
        let own = json!({"rel_type": "org.example.\u{e4}\u{0}\"", "event_id": TARGET});
        let expected = Some(("org.example.\u{e4}\u{0}\"".to_owned(), TARGET.to_owned()));
        assert_eq!(relation(RoomVersion::V11, &own), expected);
        let old = json!({"rel_type": "m.reference", "event_id": "$opaque:example.org"});
        let expected = Some(("m.reference".to_owned(), "$opaque:example.org".to_owned()));
        assert_eq!(relation(RoomVersion::V1, &old), expected);
    }

    #[test]
    fn what_does_not_match_the_schema_is_no_relation() {
        let long = "r".repeat(MAX_REL_TYPE_BYTES + 1);
        let cases = [
            json!(null),
            json!("m.thread"),
            json!([["rel_type", "m.thread"]]),
            json!({}),
            json!({"m.in_reply_to": {"event_id": TARGET}}),
            json!({"rel_type": "m.thread"}),
            json!({"event_id": TARGET}),
            json!({"rel_type": null, "event_id": TARGET}),
            json!({"rel_type": 7, "event_id": TARGET}),
            json!({"rel_type": ["m.thread"], "event_id": TARGET}),
            json!({"rel_type": "", "event_id": TARGET}),
            json!({"rel_type": long, "event_id": TARGET}),
            json!({"rel_type": "m.thread", "event_id": {"id": TARGET}}),
            json!({"rel_type": "m.thread", "event_id": ""}),
            json!({"rel_type": "m.thread", "event_id": "HHHH"}),
            json!({"rel_type": "m.thread", "event_id": format!("{TARGET}H")}),
            json!({"rel_type": "m.thread", "event_id": "$opaque:example.org"}),
            json!({"rel_type": "m.thread", "event_id": format!("${}", "\u{0}".repeat(43))}),
        ];
        for relates_to in &cases {
            assert_eq!(relation(RoomVersion::V11, relates_to), None, "{relates_to}");
        }
        let old =
            json!({"rel_type": "m.thread", "event_id": format!("${}:a.example", "a".repeat(300))});
        assert_eq!(relation(RoomVersion::V1, &old), None);
        assert_eq!(relation_of(&event(RoomVersion::V11, &json!({}))), None);
    }
}
