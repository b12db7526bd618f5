//! Events as clients see them, spliced from the kept bytes.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>

use std::borrow::Cow;

use crate::{json_string, object, pdu::Pdu, room_version::RedactsPlace, value::Value};

/// What goes with the event's own fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientFormat<'a> {
    /// Whether to write `room_id`: sync leaves it out.
    pub room_id: bool,
    /// The JSON object to write as `unsigned`, if any.
    pub unsigned: Option<&'a [u8]>,
}

/// Appends the event in the format of the client-server API. Whatever the room version, a redaction names its target
/// both at the top level and in its content: clients look at either.
/// <https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property>
pub fn write(out: &mut Vec<u8>, event: &Pdu, format: &ClientFormat<'_>) {
    let content = content_with_redacts(event);
    out.reserve(content.len() + format.unsigned.map_or(0, <[u8]>::len) + 384);
    out.extend_from_slice(b"{\"content\":");
    out.extend_from_slice(&content);
    string_member(out, "event_id", event.event_id().as_str());
    out.extend_from_slice(b",\"origin_server_ts\":");
    out.extend_from_slice(event.origin_server_ts().to_string().as_bytes());
    if let Some(redacts) = event.redacts() {
        string_member(out, "redacts", redacts.as_str());
    }
    if format.room_id {
        string_member(out, "room_id", event.room_id().as_str());
    }
    string_member(out, "sender", event.sender().as_str());
    if let Some(state_key) = event.state_key() {
        string_member(out, "state_key", state_key);
    }
    string_member(out, "type", event.kind());
    if let Some(unsigned) = format.unsigned {
        out.extend_from_slice(b",\"unsigned\":");
        out.extend_from_slice(unsigned);
    }
    out.push(b'}');
}

/// The content; of a redaction that names its target elsewhere, with the target, unless the sender put something there.
fn content_with_redacts(event: &Pdu) -> Cow<'_, [u8]> {
    let content = event.content();
    match (event.version().rules().redacts, event.redacts()) {
        (RedactsPlace::TopLevel, Some(redacts)) if Value::new(content).get("redacts").is_none() => {
            let mut literal = Vec::with_capacity(redacts.as_str().len() + 2);
            json_string::write(&mut literal, redacts.as_str());
            Cow::Owned(object::with_member(content, "redacts", &literal))
        }
        _ => Cow::Borrowed(content),
    }
}

/// Appends the event as stripped state: only content, sender, state key and type.
/// <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>
pub fn write_stripped(out: &mut Vec<u8>, event: &Pdu) {
    out.reserve(event.content().len() + 192);
    out.extend_from_slice(b"{\"content\":");
    out.extend_from_slice(event.content());
    string_member(out, "sender", event.sender().as_str());
    string_member(out, "state_key", event.state_key().unwrap_or_default());
    string_member(out, "type", event.kind());
    out.push(b'}');
}

fn string_member(out: &mut Vec<u8>, key: &str, text: &str) {
    out.push(b',');
    json_string::write(out, key);
    out.push(b':');
    json_string::write(out, text);
}
