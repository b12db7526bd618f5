//! Rooms as lists show them to clients and to other servers.
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use ruma_common::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_events::{CanonicalObject, RoomVersion, Value};
use starling_store::events::Event;
use starling_store::room_details::RoomDetails;

/// A room of a list: `PublishedRoomsChunk` of the specification.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedRoom {
    room_id: OwnedRoomId,
    num_joined_members: i64,
    world_readable: bool,
    guest_can_join: bool,
    #[serde(default = "public")]
    join_rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_alias: Option<String>,
}

impl From<RoomDetails> for PublishedRoom {
    fn from(room: RoomDetails) -> Self {
        Self {
            room_id: room.room_id,
            num_joined_members: room.joined,
            world_readable: room.world_readable,
            guest_can_join: room.guest_can_join,
            join_rule: room.join_rule,
            room_type: room.room_type,
            name: room.name,
            topic: room.topic,
            avatar_url: room.avatar_url,
            canonical_alias: room.canonical_alias,
        }
    }
}

/// What a room's join rule is when nothing is said of it.
fn public() -> String {
    "public".to_owned()
}

/// What lists of rooms show of one, and what they don't: `RoomSummary` of the specification.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SummarisedRoom {
    #[serde(flatten)]
    room: PublishedRoom,
    /// Its version, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_version: Option<String>,
    /// The algorithm by which it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<OwnedRoomId>,
}

impl From<RoomDetails> for SummarisedRoom {
    fn from(mut room: RoomDetails) -> Self {
        let is_restricted = matches!(&*room.join_rule, "restricted" | "knock_restricted");
        let allowed = std::mem::take(&mut room.allowed);
        Self {
            room_version: Some(room.version.as_str().to_owned()),
            encryption: room.encryption.take(),
            allowed_room_ids: if is_restricted { allowed } else { Vec::new() },
            room: room.into(),
        }
    }
}

impl SummarisedRoom {
    /// The room.
    #[must_use]
    pub fn room_id(&self) -> &RoomId {
        &self.room.room_id
    }

    /// Whether it is a space.
    pub(crate) fn is_space(&self) -> bool {
        self.room.room_type.as_deref() == Some("m.space")
    }

    /// Who may come in: the word, and the rooms whose members may.
    pub(crate) fn admission(&self) -> (&str, &[OwnedRoomId]) {
        (&self.room.join_rule, &self.allowed_room_ids)
    }

    /// Whether anybody may read along.
    pub(crate) fn is_world_readable(&self) -> bool {
        self.room.world_readable
    }

    /// Its version, if that is known here.
    pub(crate) fn version(&self) -> Option<RoomVersion> {
        RoomVersion::parse(self.room_version.as_deref()?)
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let room = &self.room;
        let texts = [
            &room.room_type,
            &room.name,
            &room.topic,
            &room.avatar_url,
            &room.canonical_alias,
            &self.encryption,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        texts.sum::<usize>() + self.allowed_room_ids.len() * 100 + 400
    }
}

/// A stripped `m.space.child` event, with its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChildEvent {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    sender: OwnedUserId,
    origin_server_ts: i64,
    /// In canonical form.
    content: Box<RawValue>,
}

impl ChildEvent {
    /// One that another server tells of; `None` if it is none.
    pub(crate) fn of_other_server(event: &RawValue) -> Option<Self> {
        let event: Self = serde_json::from_str(event.get()).ok()?;
        let content = CanonicalObject::from_raw(&event.content).ok()?;
        let content = serde_json::from_slice(content.as_bytes()).ok()?;
        (event.kind == "m.space.child").then_some(Self { content, ..event })
    }

    /// The child.
    pub(crate) fn state_key(&self) -> &str {
        &self.state_key
    }

    /// What it says of the child.
    pub(crate) fn content(&self) -> Value<'_> {
        Value::new(self.content.get().as_bytes())
    }

    /// When it says that it was sent, in milliseconds since 1970.
    pub(crate) fn origin_server_ts(&self) -> i64 {
        self.origin_server_ts
    }

    /// The first servers through which the child can be reached.
    pub(crate) fn via(&self, limit: usize) -> Vec<OwnedServerName> {
        let via = self.content().get("via");
        let names = via.into_iter().flat_map(Value::elements);
        let names = names.filter_map(|name| OwnedServerName::try_from(&*name.as_str()?).ok());
        names.take(limit).collect()
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        self.content.get().len() + self.state_key.len() + 200
    }
}

impl TryFrom<&Event> for ChildEvent {
    type Error = serde_json::Error;

    fn try_from(event: &Event) -> Result<Self, serde_json::Error> {
        let pdu = &event.pdu;
        Ok(Self {
            kind: pdu.kind().to_owned(),
            state_key: pdu.state_key().unwrap_or_default().to_owned(),
            sender: pdu.sender().to_owned(),
            origin_server_ts: pdu.origin_server_ts(),
            content: serde_json::from_slice(pdu.content())?,
        })
    }
}
