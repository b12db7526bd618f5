//! The grammar of identifiers. <https://spec.matrix.org/v1.19/appendices/#identifier-grammar>
//!
//! ruma's identifier types hold them, but its checks alone are not enough: it takes event ids of any length and form,
//! room ids without a domain in every room version, ports with a sign or more than five digits, and drops the limit of
//! 255 bytes if any crate in the build asks it to. In one thing it is stricter than the text, and stays so here: a
//! port above 65,535, which could never be reached, is refused.

use ruma_common::{
    EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
};
use thiserror::Error;

use crate::room_version::{EventIdForm, RoomIdForm, RoomVersion};

/// The longest user id, room id or event id, in bytes.
pub const MAX_ID_BYTES: usize = 255;

/// The length of a SHA-256 hash in unpadded base64.
const HASH_CHARACTERS: usize = 43;

/// The two characters of URL-safe base64 beside letters and digits.
const URL_SAFE: [u8; 2] = *b"-_";

/// The same of standard base64.
const STANDARD: [u8; 2] = *b"+/";

/// Why a text is not the identifier it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// Longer than [`MAX_ID_BYTES`].
    #[error("longer than 255 bytes")]
    TooLong,
    /// It doesn't follow the grammar.
    #[error("not a valid identifier")]
    Malformed,
}

/// Parses a server name.
pub fn parse_server_name(text: &str) -> Result<OwnedServerName, IdError> {
    if !has_plain_port(text) {
        return Err(IdError::Malformed);
    }
    let name: &ServerName = text.try_into().map_err(|_| IdError::Malformed)?;
    Ok(name.to_owned())
}

/// Parses a user id, with the localparts of historical users: any characters but `:` and U+0000, even none.
pub fn parse_user_id(text: &str) -> Result<OwnedUserId, IdError> {
    user_id(text).map(UserId::to_owned)
}

/// As [`parse_user_id`], in place.
pub fn user_id(text: &str) -> Result<&UserId, IdError> {
    check_length(text)?;
    let id: &UserId = text.try_into().map_err(|_| IdError::Malformed)?;
    let (_, domain) = text.split_once(':').ok_or(IdError::Malformed)?;
    if has_plain_port(domain) {
        Ok(id)
    } else {
        Err(IdError::Malformed)
    }
}

/// Parses a room id of a room of this version.
pub fn parse_room_id(version: RoomVersion, text: &str) -> Result<OwnedRoomId, IdError> {
    check_length(text)?;
    match version.rules().room_id {
        RoomIdForm::WithDomain => check_domain(text)?,
        RoomIdForm::CreateEventHash => check_hash(text, '!', URL_SAFE)?,
    }
    let id: &RoomId = text.try_into().map_err(|_| IdError::Malformed)?;
    Ok(id.to_owned())
}

/// Parses the id of an event in a room of this version. Where it is a hash, whose hash is not checked.
pub fn parse_event_id(version: RoomVersion, text: &str) -> Result<OwnedEventId, IdError> {
    check_length(text)?;
    match version.rules().event_id {
        EventIdForm::Stated => check_domain(text)?,
        EventIdForm::Hash => check_hash(text, '$', STANDARD)?,
        EventIdForm::UrlSafeHash => check_hash(text, '$', URL_SAFE)?,
    }
    let id: &EventId = text.try_into().map_err(|_| IdError::Malformed)?;
    Ok(id.to_owned())
}

/// The id of the create event of a room whose id is made of that.
#[must_use]
pub fn create_event_id(room_id: &RoomId) -> Option<OwnedEventId> {
    let hash = room_id.as_str().strip_prefix('!')?;
    check_hash(room_id.as_str(), '!', URL_SAFE).ok()?;
    OwnedEventId::try_from(format!("${hash}")).ok()
}

/// The domain of a room id that has one.
#[must_use]
pub fn room_id_domain(id: &RoomId) -> Option<&str> {
    id.as_str().split_once(':').map(|(_, domain)| domain)
}

/// The domain of an event id that has one.
#[must_use]
pub fn event_id_domain(id: &EventId) -> Option<&str> {
    id.as_str().split_once(':').map(|(_, domain)| domain)
}

fn check_length(text: &str) -> Result<(), IdError> {
    if text.len() > MAX_ID_BYTES {
        Err(IdError::TooLong)
    } else {
        Ok(())
    }
}

/// Checks that a server name follows the first colon.
fn check_domain(text: &str) -> Result<(), IdError> {
    let (opaque, domain) = text.split_once(':').ok_or(IdError::Malformed)?;
    if opaque.contains('\0') {
        return Err(IdError::Malformed);
    }
    parse_server_name(domain).map(|_| ())
}

/// Checks that the id is a sigil and a hash in base64 with these two characters beside letters and digits.
fn check_hash(text: &str, sigil: char, others: [u8; 2]) -> Result<(), IdError> {
    let is_hash = text.strip_prefix(sigil).is_some_and(|hash| {
        hash.len() == HASH_CHARACTERS
            && hash
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    });
    if is_hash {
        Ok(())
    } else {
        Err(IdError::Malformed)
    }
}

/// Whether the server name has no port, or one of one to five digits.
fn has_plain_port(server_name: &str) -> bool {
    let after_host = server_name
        .rsplit_once(']')
        .map_or(server_name, |(_, rest)| rest);
    after_host.split_once(':').is_none_or(|(_, port)| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    })
}
