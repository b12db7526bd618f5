//! What a server shows of its room to who is invited or knocks.
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use ruma_common::ServerName;
use serde_json::value::RawValue;
use starling_db::Error;
use starling_events::client_format::write_stripped;
use starling_events::id::user_id;
use starling_events::{CanonicalObject, Pdu, RoomVersion, Value};

use crate::remote::Remote;

/// So many events are shown at most, of so many bytes in all.
const EVENTS: usize = 64;
const BYTES: usize = 256 << 10;

/// Events of a room's state, for clients.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Stripped: JSON objects separated by commas.
    pub(crate) events: Box<[u8]>,
    /// Whether the room's create event is among them, and all were events of the room, rightly signed.
    pub(crate) is_whole: bool,
}

impl Remote {
    /// What clients are shown of the state that came with a member event. What isn't an event of the room or isn't signed
    /// is left out, and so is what needs no signature in versions of rooms that always had whole events here.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn shown_state(
        &self,
        member: &Pdu,
        state: Vec<Box<RawValue>>,
    ) -> Result<Shown, Error> {
        let (version, given) = (member.version(), state.len());
        let (mut events, mut stripped) = (Vec::new(), Vec::new());
        for event in state.into_iter().take(EVENTS) {
            match as_stripped(&event) {
                Some(event) => stripped.push(event),
                None => events.push(event),
            }
        }
        let checked = self.check(version, member.room_id(), events).await?;
        let events: Vec<Pdu> = checked.into_iter().filter_map(Result::ok).collect();
        let mut out = Vec::new();
        for event in events
            .iter()
            .filter(|event| is_shown(event.kind(), event.state_key(), member))
        {
            append(&mut out, |one| write_stripped(one, event));
        }
        if may_be_stripped(version) {
            for event in &stripped {
                append(&mut out, |one| write_again(one, event, member));
            }
        }
        let has_create = events.iter().any(|event| event.kind() == "m.room.create");
        Ok(Shown {
            events: out.into(),
            is_whole: has_create && events.len() == given,
        })
    }
}

/// Whether what was shown of a room (stripped events, separated by commas) has an event of a user of this server.
pub(crate) fn shows_server(state: &[u8], server: &ServerName) -> bool {
    let list = [b"[", state, b"]"].concat();
    let mut senders = Value::new(&list)
        .elements()
        .filter_map(|event| event.get("sender")?.as_str());
    senders.any(|sender| user_id(&sender).is_ok_and(|user| user.server_name() == server))
}

/// Whether servers may still show only stripped events of rooms of this version: "servers SHOULD consider their local
/// ecosystems" up to version 11. <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>
fn may_be_stripped(version: RoomVersion) -> bool {
    version <= RoomVersion::V11
}

/// An event that nobody has signed: only what clients are shown of it, as older servers send it.
fn as_stripped(event: &RawValue) -> Option<CanonicalObject> {
    let object = CanonicalObject::from_raw(event).ok()?;
    object.value().get("signatures").is_none().then_some(object)
}

/// Whether an event tells of the room. The member event that it came with is shown beside it.
fn is_shown(kind: &str, state_key: Option<&str>, member: &Pdu) -> bool {
    let is_own = kind == member.kind() && state_key == member.state_key();
    state_key.is_some() && !is_own
}

/// Appends what `write` writes, unless it's nothing or there is no more room for it.
fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut one = Vec::new();
    write(&mut one);
    if one.is_empty() || out.len() + one.len() >= BYTES {
        return;
    }
    if !out.is_empty() {
        out.push(b',');
    }
    out.append(&mut one);
}

/// Writes an event that came stripped, with nothing but what belongs there.
fn write_again(out: &mut Vec<u8>, event: &CanonicalObject, member: &Pdu) {
    let event = event.value();
    let text = |key| event.get(key).and_then(Value::as_str);
    let content = event.get("content").filter(|content| content.is_object());
    let (Some(content), Some(sender), Some(key), Some(kind)) =
        (content, text("sender"), text("state_key"), text("type"))
    else {
        return;
    };
    if user_id(&sender).is_err() || !is_shown(&kind, Some(&key), member) {
        return;
    }
    let members = ["sender", "state_key", "type"];
    out.extend_from_slice(b"{\"content\":");
    out.extend_from_slice(content.as_bytes());
    for name in members {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        out.extend_from_slice(event.get(name).map_or(b"null", Value::as_bytes));
    }
    out.push(b'}');
}
