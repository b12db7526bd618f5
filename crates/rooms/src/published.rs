//! Rooms as lists show them to clients and to other servers.
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use ruma_common::{OwnedRoomId, OwnedUserId};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_store::events::Event;
use starling_store::room_details::RoomDetails;

/// A room of a list: `PublishedRoomsChunk` of the specification.
#[derive(Debug, Serialize)]
pub struct PublishedRoom {
    room_id: OwnedRoomId,
    num_joined_members: i64,
    world_readable: bool,
    guest_can_join: bool,
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

/// What lists of rooms show of one, and what they don't: `RoomSummary` of the specification.
#[derive(Debug, Serialize)]
pub struct SummarisedRoom {
    #[serde(flatten)]
    room: PublishedRoom,
    /// Its version.
    pub room_version: &'static str,
    /// The algorithm by which it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<OwnedRoomId>,
}

impl From<RoomDetails> for SummarisedRoom {
    fn from(mut room: RoomDetails) -> Self {
        let is_restricted = matches!(&*room.join_rule, "restricted" | "knock_restricted");
        let allowed = std::mem::take(&mut room.allowed);
        Self {
            room_version: room.version.as_str(),
            encryption: room.encryption.take(),
            allowed_room_ids: if is_restricted { allowed } else { Vec::new() },
            room: room.into(),
        }
    }
}

/// A stripped `m.space.child` event, with its time.
#[derive(Debug, Serialize)]
pub struct ChildEvent {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    sender: OwnedUserId,
    origin_server_ts: i64,
    content: Box<RawValue>,
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
