//! A persistent data unit: an event as its canonical bytes, and the few fields that a server needs, parsed once.
//! <https://spec.matrix.org/v1.19/server-server-api/#pdus>

use std::{fmt, ops::Range, sync::Arc};

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use crate::{
    canonical_json,
    format::{self, Fields, MAX_PDU_BYTES, ParseError, read_fields},
    hash,
    object::Object,
    redact,
    room_version::RoomVersion,
    value::Value,
};

/// More input than this is not looked at. An event in other than canonical form is longer than its canonical bytes (at
/// most threefold, with every character escaped that is worth it), and carries what we don't keep.
const MAX_INPUT_BYTES: usize = 4 * MAX_PDU_BYTES;

/// What an event may carry in transit and does not consist of: no hash or signature covers it. An `event_id` is covered,
/// also in room versions where nobody believes it.
const NOT_STORED: &[&str] = &["unsigned"];

/// An event. Cloning copies the fields, not the bytes.
#[derive(Clone)]
pub struct Pdu {
    version: RoomVersion,
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    kind: Box<str>,
    state_key: Option<Box<str>>,
    origin_server_ts: i64,
    depth: i64,
    prev_events: Box<[OwnedEventId]>,
    auth_events: Box<[OwnedEventId]>,
    redacts: Option<OwnedEventId>,
    /// Where the content is in `json`.
    content: Range<usize>,
    json: Arc<[u8]>,
}

impl Pdu {
    /// Parses untrusted bytes: writes them in canonical form without `unsigned`, checks format and sizes, and computes
    /// the event id (whatever the event may say it is), unless the room version has events state it. Signatures and
    /// content hash are not checked.
    pub fn parse(version: RoomVersion, bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_INPUT_BYTES {
            return Err(ParseError::TooLarge("event"));
        }
        let canonical =
            canonical_json::canonicalize_object_without(version.rules().json, bytes, NOT_STORED)?;
        if canonical.len() > MAX_PDU_BYTES {
            return Err(ParseError::TooLarge("event"));
        }
        let event = Object::new(&canonical);
        let fields = read_fields(version, &event)?;
        let event_id = fields.event_id.clone().unwrap_or_else(|| {
            hash::event_id_of_signed_bytes(version, &redact::signed_bytes_of(version, &event))
        });
        Ok(Self::new(version, event_id, fields, canonical.into()))
    }

    /// Takes the bytes that [`Pdu::json`] gave, and the id of the event. They are trusted: nothing is hashed.
    pub fn from_stored(
        version: RoomVersion,
        event_id: OwnedEventId,
        bytes: Arc<[u8]>,
    ) -> Result<Self, ParseError> {
        let fields = read_fields(version, &Object::new(&bytes))?;
        Ok(Self::new(version, event_id, fields, bytes))
    }

    pub(crate) fn new(
        version: RoomVersion,
        event_id: OwnedEventId,
        fields: Fields,
        json: Arc<[u8]>,
    ) -> Self {
        Self {
            version,
            room_id: fields
                .room_id
                .unwrap_or_else(|| hash::room_id_of_create(&event_id)),
            event_id,
            sender: fields.sender,
            kind: fields.kind,
            state_key: fields.state_key,
            origin_server_ts: fields.origin_server_ts,
            depth: fields.depth,
            prev_events: fields.prev_events,
            auth_events: fields.auth_events,
            redacts: fields.redacts,
            content: fields.content,
            json,
        }
    }

    /// The version of the event's room.
    #[must_use]
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// The room's id; of a create event without one, that which its hash makes.
    #[must_use]
    pub fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// The user who sent the event.
    #[must_use]
    pub fn sender(&self) -> &UserId {
        &self.sender
    }

    /// The event's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The state key, if this is a state event.
    #[must_use]
    pub fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    /// When the sender's server says that it made the event, in milliseconds since 1970. May be any integer, in room
    /// versions 1 to 5 of all 64 bits.
    #[must_use]
    pub fn origin_server_ts(&self) -> i64 {
        self.origin_server_ts
    }

    /// The event's depth as its server says, from 0 to the room version's
    /// [`max_depth`](crate::room_version::Rules::max_depth).
    #[must_use]
    pub fn depth(&self) -> i64 {
        self.depth
    }

    /// The events that this one follows.
    #[must_use]
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.prev_events
    }

    /// The events that allow this one.
    #[must_use]
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.auth_events
    }

    /// The event that this one redacts, if it is a redaction.
    #[must_use]
    pub fn redacts(&self) -> Option<&EventId> {
        self.redacts.as_deref()
    }

    /// The canonical bytes of the content, an object.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.json.get(self.content.clone()).unwrap_or_default()
    }

    /// The canonical bytes of the event, as stored.
    #[must_use]
    pub fn json(&self) -> &Arc<[u8]> {
        &self.json
    }

    /// A view of the event.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        Value::new(&self.json)
    }

    /// Whether the content hash in the event is that of its content. If not, the event is to be used as
    /// [`Pdu::redacted`].
    #[must_use]
    pub fn has_valid_content_hash(&self) -> bool {
        hash::verify_content_hash(&self.json)
    }

    /// The event as a redaction leaves it, with the same event id.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let json = redact::redact(self.version, &self.json);
        let event = Object::new(&json);
        let mut members = event.members().iter();
        let content = members.find(|member| member.is("content"));
        Self {
            content: content.map_or(0..0, |member| member.span.clone()),
            // Not every version's algorithm keeps it.
            redacts: format::redacts(self.version, &self.kind, &event),
            json: json.into(),
            ..self.clone()
        }
    }
}

impl fmt::Debug for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pdu")
            .field("version", &self.version)
            .field("event_id", &self.event_id)
            .field("json", &String::from_utf8_lossy(&self.json))
            .finish_non_exhaustive()
    }
}
