//! Identifiers in paths: what doesn't follow their grammar is 400 `M_INVALID_PARAM`.
//! <https://spec.matrix.org/v1.19/appendices/#identifier-grammar>

use std::fmt;

use ruma_common::{OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId};
use serde::Deserialize;
use starling_events::RoomVersion;
use starling_events::id::{IdError, MAX_ID_BYTES, parse_room_id, parse_user_id};

use crate::MatrixError;

/// The longest transaction id, in bytes: clients choose them, and each is kept for a while.
const TXN_ID_BYTES: usize = 255;

/// A room id of the form of any room version.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct RoomIdPart(pub OwnedRoomId);

/// An event id of any form: one that no room here can have is simply not found.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct EventIdPart(pub OwnedEventId);

/// A user id.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct UserIdPart(pub OwnedUserId);

/// A room alias.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct AliasPart(pub OwnedRoomAliasId);

/// A room id or an alias.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum RoomOrAliasPart {
    /// A room id.
    Room(OwnedRoomId),
    /// An alias.
    Alias(OwnedRoomAliasId),
}

/// A transaction id.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct TxnIdPart(pub String);

/// A part of a path that is not what it must be.
#[derive(Debug)]
pub struct Malformed {
    what: &'static str,
    why: IdError,
}

impl Malformed {
    fn of(what: &'static str) -> impl Fn(IdError) -> Self {
        move |why| Self { what, why }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} is {}", self.what, self.why)
    }
}

impl TryFrom<String> for RoomIdPart {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        room_id(&text).map(Self).map_err(Malformed::of("room id"))
    }
}

impl TryFrom<String> for EventIdPart {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        event_id(&text).map(Self).map_err(Malformed::of("event id"))
    }
}

impl TryFrom<String> for UserIdPart {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        parse_user_id(&text)
            .map(Self)
            .map_err(Malformed::of("user id"))
    }
}

impl TryFrom<String> for AliasPart {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        alias(&text).map(Self).map_err(Malformed::of("alias"))
    }
}

impl TryFrom<String> for RoomOrAliasPart {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        if text.starts_with('#') {
            let alias = alias(&text).map(Self::Alias);
            alias.map_err(Malformed::of("alias"))
        } else {
            let room_id = room_id(&text).map(Self::Room);
            room_id.map_err(Malformed::of("room id"))
        }
    }
}

impl TryFrom<String> for TxnIdPart {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        check_length(&text, TXN_ID_BYTES).map_err(Malformed::of("transaction id"))?;
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

/// The user that a property or parameter of this name is.
///
/// # Errors
/// 400 `M_INVALID_PARAM` when it is none.
pub fn user_named(name: &str, text: &str) -> Result<OwnedUserId, MatrixError> {
    parse_user_id(text).map_err(|error| malformed(name, "user id", error))
}

/// The room that a property or parameter of this name is.
///
/// # Errors
/// 400 `M_INVALID_PARAM` when it is none.
pub fn room_named(name: &str, text: &str) -> Result<OwnedRoomId, MatrixError> {
    room_id(text).map_err(|error| malformed(name, "room id", error))
}

/// The event that a property of this name is.
///
/// # Errors
/// 400 `M_INVALID_PARAM` when it is none.
pub fn event_named(name: &str, text: &str) -> Result<OwnedEventId, MatrixError> {
    event_id(text).map_err(|error| malformed(name, "event id", error))
}

/// The alias that a parameter of this name is.
///
/// # Errors
/// 400 `M_INVALID_PARAM` when it is none.
pub fn alias_named(name: &str, text: &str) -> Result<OwnedRoomAliasId, MatrixError> {
    alias(text).map_err(|error| malformed(name, "alias", error))
}

fn malformed(name: &str, what: &str, error: IdError) -> MatrixError {
    MatrixError::invalid_param(format!("`{name}` is no {what}: it is {error}"))
}
