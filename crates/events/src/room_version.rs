//! Room versions and what differs between them. <https://spec.matrix.org/v1.19/rooms/>
//!
//! A version is a row of [`Rules`], written as what it changes in the version before. Forms that differ are enums: a
//! version with another form adds a variant, and the compiler shows each place that must know it.

use std::fmt;

use crate::{
    canonical_json::MAX_INTEGER,
    redact::{
        RedactionRules, V1_REDACTION, V6_REDACTION, V8_REDACTION, V9_REDACTION, V11_REDACTION,
    },
};

/// A room version that this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomVersion {
    /// <https://spec.matrix.org/v1.19/rooms/v1/>
    V1,
    /// <https://spec.matrix.org/v1.19/rooms/v2/>
    V2,
    /// <https://spec.matrix.org/v1.19/rooms/v3/>
    V3,
    /// <https://spec.matrix.org/v1.19/rooms/v4/>
    V4,
    /// <https://spec.matrix.org/v1.19/rooms/v5/>
    V5,
    /// <https://spec.matrix.org/v1.19/rooms/v6/>
    V6,
    /// <https://spec.matrix.org/v1.19/rooms/v7/>
    V7,
    /// <https://spec.matrix.org/v1.19/rooms/v8/>
    V8,
    /// <https://spec.matrix.org/v1.19/rooms/v9/>
    V9,
    /// <https://spec.matrix.org/v1.19/rooms/v10/>
    V10,
    /// <https://spec.matrix.org/v1.19/rooms/v11/>
    V11,
    /// <https://spec.matrix.org/v1.19/rooms/v12/>
    V12,
}

/// How the events of a room version look and what its redaction, authorization and state resolution rules are.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the columns of a table, each on its own: no state machine"
)]
pub struct Rules {
    /// Which JSON an event may consist of.
    pub json: JsonForm,
    /// What an event id is made of.
    pub event_id: EventIdForm,
    /// How `prev_events` and `auth_events` name events.
    pub references: ReferenceForm,
    /// What a room id is made of.
    pub room_id: RoomIdForm,
    /// Where a redaction names the event that it redacts.
    pub redacts: RedactsPlace,
    /// The keys that survive a redaction.
    pub redaction: &'static RedactionRules,
    /// Whether a signature counts only while its key is valid.
    pub key_validity: bool,
    /// How power levels are written.
    pub levels: LevelForm,
    /// Where a create event names the creator.
    pub creator: CreatorPlace,
    /// Whether `m.room.create` is selected for `auth_events`. Where it isn't, the room id stands for it.
    pub create_in_auth_events: bool,
    /// Whether the room's creators (the create event's sender and `additional_creators`) have infinite power.
    pub privileged_creators: bool,
    /// Whether `m.room.aliases` has an authorization rule of its own.
    pub aliases_rule: bool,
    /// Whether `m.room.redaction` has an authorization rule of its own.
    pub redaction_rule: bool,
    /// Whether the authorization rules look at `notifications` of the power levels.
    pub notification_levels: bool,
    /// Whether there is the membership `knock` and the join rule of that name.
    pub knocking: bool,
    /// Whether there is the join rule `restricted`.
    pub restricted: bool,
    /// Whether there is the join rule `knock_restricted`.
    pub knock_restricted: bool,
    /// The algorithm that merges states.
    pub state_resolution: StateResolution,
}

/// Which JSON a room version's events may consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonForm {
    /// Any: integers of any size, fractions, keys that occur twice.
    Loose,
    /// What canonical JSON can say.
    Strict,
}

/// The form of a room version's event ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventIdForm {
    /// `$opaque:domain`, stated in the event.
    Stated,
    /// `$` and the reference hash in unpadded base64.
    Hash,
    /// `$` and the reference hash in URL-safe unpadded base64.
    UrlSafeHash,
}

/// How a room version's events name others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceForm {
    /// Pairs of an event id and an object with its reference hash.
    WithHashes,
    /// Event ids.
    Ids,
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
    /// `redacts`.
    TopLevel,
    /// `content.redacts`.
    Content,
}

/// How a room version's power levels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelForm {
    /// As integers, as strings that are integers, or with a fraction, which is cut off.
    AnyNumber,
    /// As integers, or as strings that are integers.
    IntegerOrString,
    /// As integers only.
    Integer,
}

/// Where a room version's `m.room.create` names the room's creator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreatorPlace {
    /// `content.creator`.
    Content,
    /// `sender`.
    Sender,
}

/// A state resolution algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateResolution {
    /// <https://spec.matrix.org/v1.19/rooms/v1/#state-resolution>
    V1,
    /// <https://spec.matrix.org/v1.19/rooms/v2/#state-resolution>
    V2,
    /// <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>
    V2_1,
}

const V1_RULES: Rules = Rules {
    json: JsonForm::Loose,
    event_id: EventIdForm::Stated,
    references: ReferenceForm::WithHashes,
    room_id: RoomIdForm::WithDomain,
    redacts: RedactsPlace::TopLevel,
    redaction: &V1_REDACTION,
    key_validity: false,
    levels: LevelForm::AnyNumber,
    creator: CreatorPlace::Content,
    create_in_auth_events: true,
    privileged_creators: false,
    aliases_rule: true,
    redaction_rule: true,
    notification_levels: false,
    knocking: false,
    restricted: false,
    knock_restricted: false,
    state_resolution: StateResolution::V1,
};

const V2_RULES: Rules = Rules {
    state_resolution: StateResolution::V2,
    ..V1_RULES
};

const V3_RULES: Rules = Rules {
    event_id: EventIdForm::Hash,
    references: ReferenceForm::Ids,
    redaction_rule: false,
    ..V2_RULES
};

const V4_RULES: Rules = Rules {
    event_id: EventIdForm::UrlSafeHash,
    ..V3_RULES
};

const V5_RULES: Rules = Rules {
    key_validity: true,
    ..V4_RULES
};

const V6_RULES: Rules = Rules {
    json: JsonForm::Strict,
    redaction: &V6_REDACTION,
    levels: LevelForm::IntegerOrString,
    aliases_rule: false,
    notification_levels: true,
    ..V5_RULES
};

const V7_RULES: Rules = Rules {
    knocking: true,
    ..V6_RULES
};

const V8_RULES: Rules = Rules {
    redaction: &V8_REDACTION,
    restricted: true,
    ..V7_RULES
};

const V9_RULES: Rules = Rules {
    redaction: &V9_REDACTION,
    ..V8_RULES
};

const V10_RULES: Rules = Rules {
    levels: LevelForm::Integer,
    knock_restricted: true,
    ..V9_RULES
};

const V11_RULES: Rules = Rules {
    redacts: RedactsPlace::Content,
    redaction: &V11_REDACTION,
    creator: CreatorPlace::Sender,
    ..V10_RULES
};

const V12_RULES: Rules = Rules {
    room_id: RoomIdForm::CreateEventHash,
    create_in_auth_events: false,
    privileged_creators: true,
    state_resolution: StateResolution::V2_1,
    ..V11_RULES
};

impl Rules {
    /// The greatest `depth` of an event: where integers may have any size, the greatest of 64 bits.
    #[must_use]
    pub fn max_depth(&self) -> i64 {
        match self.json {
            JsonForm::Loose => i64::MAX,
            JsonForm::Strict => MAX_INTEGER,
        }
    }
}

impl RoomVersion {
    /// Every version that this server knows, oldest first.
    pub const ALL: [Self; 12] = [
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
        Self::V7,
        Self::V8,
        Self::V9,
        Self::V10,
        Self::V11,
        Self::V12,
    ];

    /// The version named by `content.room_version` of a create event, if this server knows it.
    #[must_use]
    pub fn parse(version: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == version)
    }

    /// The version's name in the specification.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
            Self::V4 => "4",
            Self::V5 => "5",
            Self::V6 => "6",
            Self::V7 => "7",
            Self::V8 => "8",
            Self::V9 => "9",
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
        }
    }

    /// What holds in rooms of this version.
    #[must_use]
    pub fn rules(self) -> &'static Rules {
        match self {
            Self::V1 => &V1_RULES,
            Self::V2 => &V2_RULES,
            Self::V3 => &V3_RULES,
            Self::V4 => &V4_RULES,
            Self::V5 => &V5_RULES,
            Self::V6 => &V6_RULES,
            Self::V7 => &V7_RULES,
            Self::V8 => &V8_RULES,
            Self::V9 => &V9_RULES,
            Self::V10 => &V10_RULES,
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
