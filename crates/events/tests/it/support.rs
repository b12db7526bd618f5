//! Events to test with.

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId, ServerName};
use starling_events::{CanonicalObject, EventBuilder, Pdu, RoomVersion, SigningKey};

/// The seed of the specification's test vectors.
pub(crate) const SEED: &str = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

pub(crate) fn key() -> SigningKey {
    SigningKey::parse(&format!("ed25519 1 {SEED}")).unwrap()
}

pub(crate) fn server() -> &'static ServerName {
    "domain".try_into().unwrap()
}

/// An event id made of one letter.
pub(crate) fn event_id(letter: char) -> OwnedEventId {
    EventId::parse(format!("${}", letter.to_string().repeat(43))).unwrap()
}

/// A room id of the version's form.
pub(crate) fn room_id(version: RoomVersion) -> OwnedRoomId {
    match version {
        RoomVersion::V11 => RoomId::parse("!r:domain").unwrap(),
        RoomVersion::V12 => RoomId::parse(format!("!{}", "r".repeat(43))).unwrap(),
    }
}

pub(crate) fn builder(version: RoomVersion, kind: &str, content: &str) -> EventBuilder {
    EventBuilder {
        room_id: Some(room_id(version)),
        sender: "@u:domain".try_into().unwrap(),
        kind: kind.to_owned(),
        state_key: None,
        content: CanonicalObject::parse(content.as_bytes()).unwrap(),
        redacts: None,
        origin_server_ts: 1_000_000,
        depth: 3,
        prev_events: vec![event_id('p')],
        auth_events: vec![event_id('a'), event_id('b')],
    }
}

pub(crate) fn build(version: RoomVersion, kind: &str, content: &str) -> Pdu {
    builder(version, kind, content)
        .build(version, server(), &key())
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
