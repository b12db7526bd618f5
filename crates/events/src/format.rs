//! The format of an event: which fields it must have, and their sizes.
//! <https://spec.matrix.org/v1.19/rooms/v1/#event-format> and the same section of later versions,
//! <https://spec.matrix.org/v1.19/client-server-api/#size-limits>
//!
//! Checked in every room version: `type`, `state_key` (if there) and `sender` are strings of at most 255 bytes, the
//! last a user id; `content`, `hashes` and `signatures` are objects; `origin_server_ts` and `depth` are integers of 64
//! bits, the latter from 0 to the version's limit; `prev_events` and `auth_events` are arrays of at most 20 and 10
//! references, and `room_id` is an id, both of the version's form. Where the version's events state their id,
//! `event_id` is one. Whatever else is there makes no event invalid.

use std::{borrow::Cow, ops::Range};

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId};
use thiserror::Error;

use crate::{
    canonical_json::JsonError,
    id::{self, IdError},
    object::Object,
    room_version::{EventIdForm, RedactsPlace, ReferenceForm, RoomIdForm, RoomVersion},
    value::{Member, Value},
};

/// The largest event, in bytes of canonical JSON, signatures included.
pub const MAX_PDU_BYTES: usize = 65_536;

/// The longest `type`, `state_key`, `sender`, `room_id` or event id, in bytes.
pub const MAX_FIELD_BYTES: usize = id::MAX_ID_BYTES;

/// How many events `prev_events` may name.
pub const MAX_PREV_EVENTS: usize = 20;

/// How many events `auth_events` may name.
pub const MAX_AUTH_EVENTS: usize = 10;

/// Why bytes are not an event of the room version. Each names the field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The bytes are not canonical JSON, nor can they be written as it.
    #[error("the event is not canonical JSON")]
    Json(#[from] JsonError),
    /// The event, or a field of it, is larger than allowed.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// A field that the event must have isn't there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is of the wrong type or doesn't follow its grammar.
    #[error("{0} is invalid")]
    Invalid(&'static str),
}

/// The fields of an event that a server needs, out of its canonical bytes.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    /// `None` in room versions where an event doesn't state its id.
    pub(crate) event_id: Option<OwnedEventId>,
    /// `None` if the event's own hash is the room id.
    pub(crate) room_id: Option<OwnedRoomId>,
    pub(crate) sender: OwnedUserId,
    pub(crate) kind: Box<str>,
    pub(crate) state_key: Option<Box<str>>,
    pub(crate) origin_server_ts: i64,
    pub(crate) depth: i64,
    pub(crate) prev_events: Box<[OwnedEventId]>,
    pub(crate) auth_events: Box<[OwnedEventId]>,
    pub(crate) redacts: Option<OwnedEventId>,
    pub(crate) content: Range<usize>,
}

/// The members that an event's format speaks of, as found.
#[derive(Default)]
struct Found<'a> {
    auth_events: Option<Value<'a>>,
    content: Option<Member<'a>>,
    depth: Option<Value<'a>>,
    event_id: Option<Value<'a>>,
    hashes: Option<Value<'a>>,
    origin_server_ts: Option<Value<'a>>,
    prev_events: Option<Value<'a>>,
    room_id: Option<Value<'a>>,
    sender: Option<Value<'a>>,
    signatures: Option<Value<'a>>,
    state_key: Option<Value<'a>>,
    kind: Option<Value<'a>>,
}

impl<'a> Found<'a> {
    fn new(event: &Object<'a>) -> Result<Self, ParseError> {
        let mut found = Self::default();
        for member in event.members() {
            let place = match member.raw_key {
                b"auth_events" => &mut found.auth_events,
                b"depth" => &mut found.depth,
                b"event_id" => &mut found.event_id,
                b"hashes" => &mut found.hashes,
                b"origin_server_ts" => &mut found.origin_server_ts,
                b"prev_events" => &mut found.prev_events,
                b"room_id" => &mut found.room_id,
                b"sender" => &mut found.sender,
                b"signatures" => &mut found.signatures,
                b"state_key" => &mut found.state_key,
                b"type" => &mut found.kind,
                b"content" => {
                    found.content = Some(member.clone());
                    continue;
                }
                _ => continue,
            };
            *place = Some(member.value);
        }
        // Only bytes from the database can end early: others were just written by us.
        if event.is_complete() {
            Ok(found)
        } else {
            Err(JsonError::Syntax(event.len()).into())
        }
    }
}

/// Checks the format of an event, and reads the fields.
pub(crate) fn read_fields(version: RoomVersion, event: &Object<'_>) -> Result<Fields, ParseError> {
    let found = Found::new(event)?;
    let kind = short_text("type", required("type", found.kind)?)?;
    let content = found.content.ok_or(ParseError::Missing("content"))?;
    for (field, value) in [
        ("content", Some(content.value)),
        ("hashes", found.hashes),
        ("signatures", found.signatures),
    ] {
        if !required(field, value)?.is_object() {
            return Err(ParseError::Invalid(field));
        }
    }
    let sender = short_text("sender", required("sender", found.sender)?)?;
    Ok(Fields {
        event_id: stated_event_id(version, found.event_id)?,
        room_id: room_id(version, &kind, found.room_id)?,
        sender: id::parse_user_id(&sender).map_err(|error| id_error("sender", error))?,
        state_key: found
            .state_key
            .map(|value| short_text("state_key", value))
            .transpose()?
            .map(into_box),
        origin_server_ts: integer("origin_server_ts", found.origin_server_ts)?,
        depth: depth(version, found.depth)?,
        prev_events: references(version, "prev_events", found.prev_events, MAX_PREV_EVENTS)?,
        auth_events: references(version, "auth_events", found.auth_events, MAX_AUTH_EVENTS)?,
        redacts: redacts(version, &kind, event),
        content: content.span,
        kind: into_box(kind),
    })
}

fn required<'a>(field: &'static str, value: Option<Value<'a>>) -> Result<Value<'a>, ParseError> {
    value.ok_or(ParseError::Missing(field))
}

fn into_box(text: Cow<'_, str>) -> Box<str> {
    text.into_owned().into_boxed_str()
}

fn short_text<'a>(field: &'static str, value: Value<'a>) -> Result<Cow<'a, str>, ParseError> {
    let text = value.as_str().ok_or(ParseError::Invalid(field))?;
    if text.len() > MAX_FIELD_BYTES {
        Err(ParseError::TooLarge(field))
    } else {
        Ok(text)
    }
}

fn id_error(field: &'static str, error: IdError) -> ParseError {
    match error {
        IdError::TooLong => ParseError::TooLarge(field),
        IdError::Malformed => ParseError::Invalid(field),
    }
}

fn integer(field: &'static str, value: Option<Value<'_>>) -> Result<i64, ParseError> {
    required(field, value)?
        .as_integer()
        .ok_or(ParseError::Invalid(field))
}

/// A depth grows by one from zero and stops at the limit, so neither a negative one nor one beyond it can be.
fn depth(version: RoomVersion, value: Option<Value<'_>>) -> Result<i64, ParseError> {
    let depth = integer("depth", value)?;
    if (0..=version.rules().max_depth()).contains(&depth) {
        Ok(depth)
    } else {
        Err(ParseError::Invalid("depth"))
    }
}

fn stated_event_id(
    version: RoomVersion,
    value: Option<Value<'_>>,
) -> Result<Option<OwnedEventId>, ParseError> {
    match version.rules().event_id {
        EventIdForm::Stated => {
            let text = short_text("event_id", required("event_id", value)?)?;
            id::parse_event_id(version, &text)
                .map(Some)
                .map_err(|error| id_error("event_id", error))
        }
        EventIdForm::Hash | EventIdForm::UrlSafeHash => Ok(None),
    }
}

fn room_id(
    version: RoomVersion,
    kind: &str,
    value: Option<Value<'_>>,
) -> Result<Option<OwnedRoomId>, ParseError> {
    let own_hash =
        kind == "m.room.create" && version.rules().room_id == RoomIdForm::CreateEventHash;
    match (own_hash, value) {
        (true, None) => Ok(None),
        (true, Some(_)) => Err(ParseError::Invalid("room_id")),
        (false, value) => {
            let text = short_text("room_id", required("room_id", value)?)?;
            id::parse_room_id(version, &text)
                .map(Some)
                .map_err(|error| id_error("room_id", error))
        }
    }
}

fn references(
    version: RoomVersion,
    field: &'static str,
    value: Option<Value<'_>>,
    most: usize,
) -> Result<Box<[OwnedEventId]>, ParseError> {
    let array = required(field, value)?;
    if !array.is_array() {
        return Err(ParseError::Invalid(field));
    }
    let mut ids = Vec::with_capacity(2);
    for element in array.elements() {
        if ids.len() == most {
            return Err(ParseError::TooLarge(field));
        }
        let id = match version.rules().references {
            ReferenceForm::WithHashes => id_of_pair(element),
            ReferenceForm::Ids => Some(element),
        };
        let text = id
            .and_then(Value::as_str)
            .ok_or(ParseError::Invalid(field))?;
        ids.push(id::parse_event_id(version, &text).map_err(|error| id_error(field, error))?);
    }
    Ok(ids.into_boxed_slice())
}

/// The first of an array of two, of which the other is an object. What hashes are in that is not looked at: they say
/// nothing that the id doesn't.
fn id_of_pair(pair: Value<'_>) -> Option<Value<'_>> {
    let mut elements = pair.elements();
    match (elements.next(), elements.next(), elements.next()) {
        (Some(id), Some(hashes), None) if hashes.is_object() => Some(id),
        _ => None,
    }
}

/// The event that an event of this type redacts. A redaction that names none, or not properly, is an event like any
/// other: it just redacts nothing.
pub(crate) fn redacts(
    version: RoomVersion,
    kind: &str,
    event: &Object<'_>,
) -> Option<OwnedEventId> {
    if kind != "m.room.redaction" {
        return None;
    }
    let target = match version.rules().redacts {
        RedactsPlace::TopLevel => event.get("redacts"),
        RedactsPlace::Content => event.get("content")?.get("redacts"),
    };
    id::parse_event_id(version, &target?.as_str()?).ok()
}
