//! Room versions and what differs between them. <https://spec.matrix.org/v1.19/rooms/>
//!
//! A version is a row of [`Rules`]. Forms that all known versions share are enums all the same: a version with
//! another form adds a variant, and the compiler shows each place that must know it.

use std::fmt;

use crate::redact::{RedactionRules, V11_REDACTION};

/// A room version that this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomVersion {
    /// <https://spec.matrix.org/v1.19/rooms/v11/>
    V11,
    /// <https://spec.matrix.org/v1.19/rooms/v12/>
    V12,
}

/// How the events of a room version look and what its redaction and authorization rules are.
#[derive(Debug)]
pub struct Rules {
    /// What an event id is made of.
    pub event_id: EventIdForm,
    /// What a room id is made of.
    pub room_id: RoomIdForm,
    /// Where a redaction names the event that it redacts.
    pub redacts: RedactsPlace,
    /// The keys that survive a redaction.
    pub redaction: &'static RedactionRules,
    /// How power levels are written.
    pub levels: LevelForm,
    /// Whether `m.room.create` is selected for `auth_events`. Where it isn't, the room id stands for it.
    pub create_in_auth_events: bool,
    /// Whether the room's creators (the create event's sender and `additional_creators`) have infinite power.
    pub privileged_creators: bool,
}

/// The form of a room version's event ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventIdForm {
    /// `$` and the reference hash in URL-safe unpadded base64.
    UrlSafeHash,
}

/// The form of a room version's room ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomIdForm {
    /// `!opaque:domain`, in every event.
    WithDomain,
    /// `!` and the hash of the create event, which itself has no `room_id`.
    CreateEventHash,
}

/// Where a room version's `m.room.redaction` names its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactsPlace {
    /// `content.redacts`.
    Content,
}

/// How a room version's power levels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelForm {
    /// As integers only.
    Integer,
}

const V11_RULES: Rules = Rules {
    event_id: EventIdForm::UrlSafeHash,
    room_id: RoomIdForm::WithDomain,
    redacts: RedactsPlace::Content,
    redaction: &V11_REDACTION,
    levels: LevelForm::Integer,
    create_in_auth_events: true,
    privileged_creators: false,
};

const V12_RULES: Rules = Rules {
    room_id: RoomIdForm::CreateEventHash,
    create_in_auth_events: false,
    privileged_creators: true,
    ..V11_RULES
};

impl RoomVersion {
    /// Every version that this server knows, oldest first.
    pub const ALL: [Self; 2] = [Self::V11, Self::V12];

    /// The version named by `content.room_version` of a create event, if this server knows it.
    #[must_use]
    pub fn parse(version: &str) -> Option<Self> {
        match version {
            "11" => Some(Self::V11),
            "12" => Some(Self::V12),
            _ => None,
        }
    }

    /// The version's name in the specification.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V11 => "11",
            Self::V12 => "12",
        }
    }

    /// What holds in rooms of this version.
    #[must_use]
    pub fn rules(self) -> &'static Rules {
        match self {
            Self::V11 => &V11_RULES,
            Self::V12 => &V12_RULES,
        }
    }
}

impl fmt::Display for RoomVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
