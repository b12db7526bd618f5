//! Identifiers in paths: what doesn't follow their grammar is 400 `M_INVALID_PARAM`.
//! <https://spec.matrix.org/v1.19/appendices/#identifier-grammar>

use ruma_common::{OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId};
use serde::Deserialize;
use starling_events::RoomVersion;
use starling_events::id::{IdError, MAX_ID_BYTES, parse_room_id, parse_user_id};
use starling_http::MatrixError;

/// The longest transaction id, in bytes: clients choose them, and each is kept for a while.
const TXN_ID_BYTES: usize = 255;

/// A room id of the form of any room version.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct RoomIdPart(pub(super) OwnedRoomId);

/// An event id of any form: one that no room here can have is simply not found.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct EventIdPart(pub(super) OwnedEventId);

/// A room alias.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AliasPart(pub(super) OwnedRoomAliasId);

/// A room id or an alias.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum RoomOrAliasPart {
    /// A room id.
    Room(OwnedRoomId),
    /// An alias.
    Alias(OwnedRoomAliasId),
}

/// A transaction id.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct TxnIdPart(pub(super) String);

impl TryFrom<String> for RoomIdPart {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        room_id(&text).map(Self)
    }
}

impl TryFrom<String> for EventIdPart {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        event_id(&text).map(Self)
    }
}

impl TryFrom<String> for AliasPart {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        alias(&text).map(Self)
    }
}

impl TryFrom<String> for RoomOrAliasPart {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        if text.starts_with('#') {
            alias(&text).map(Self::Alias)
        } else {
            room_id(&text).map(Self::Room)
        }
    }
}

impl TryFrom<String> for TxnIdPart {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        check_length(&text, TXN_ID_BYTES)?;
        Ok(Self(text))
    }
}

fn room_id(text: &str) -> Result<OwnedRoomId, IdError> {
    let mut versions = RoomVersion::ALL.into_iter();
    let id = versions.find_map(|version| parse_room_id(version, text).ok());
    id.ok_or(IdError::Malformed)
}

fn event_id(text: &str) -> Result<OwnedEventId, IdError> {
    check_length(text, MAX_ID_BYTES)?;
    // Not in its grammar, and what databases refuse to compare with.
    if text.contains('\0') {
        return Err(IdError::Malformed);
    }
    OwnedEventId::try_from(text).map_err(|_| IdError::Malformed)
}

fn alias(text: &str) -> Result<OwnedRoomAliasId, IdError> {
    check_length(text, MAX_ID_BYTES)?;
    let alias = <&RoomAliasId>::try_from(text).map_err(|_| IdError::Malformed)?;
    Ok(alias.to_owned())
}

fn check_length(text: &str, most: usize) -> Result<(), IdError> {
    if text.len() > most {
        Err(IdError::TooLong)
    } else {
        Ok(())
    }
}

/// The user that a body names.
pub(super) fn user_in_body(text: &str) -> Result<OwnedUserId, MatrixError> {
    parse_user_id(text).map_err(|error| MatrixError::invalid_param(format!("user id: {error}")))
}

/// The room that a body names.
pub(super) fn room_in_body(text: &str) -> Result<OwnedRoomId, MatrixError> {
    room_id(text).map_err(|error| MatrixError::invalid_param(format!("room id: {error}")))
}

/// The event that a body names.
pub(super) fn event_in_body(text: &str) -> Result<OwnedEventId, MatrixError> {
    event_id(text).map_err(|error| MatrixError::invalid_param(format!("event id: {error}")))
}
