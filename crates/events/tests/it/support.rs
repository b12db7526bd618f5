//! Events to test with.

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId, ServerName};
use starling_events::{
    CanonicalObject, EventBuilder, EventReference, Pdu, RoomVersion, SigningKey,
    room_version::{EventIdForm, ReferenceForm, RoomIdForm},
};

/// The seed of the specification's test vectors.
pub(crate) const SEED: &str = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

pub(crate) fn key() -> SigningKey {
    SigningKey::parse(&format!("ed25519 1 {SEED}")).unwrap()
}

pub(crate) fn server() -> &'static ServerName {
    "domain".try_into().unwrap()
}

/// An event id of the version's form, made of one letter.
pub(crate) fn event_id(version: RoomVersion, letter: char) -> OwnedEventId {
    let id = match version.rules().event_id {
        EventIdForm::Stated => format!("${letter}:domain"),
        EventIdForm::Hash | EventIdForm::UrlSafeHash => {
            format!("${}", letter.to_string().repeat(43))
        }
    };
    EventId::parse(id).unwrap()
}

/// A reference to an event with such an id.
pub(crate) fn reference(version: RoomVersion, letter: char) -> EventReference {
    let hash = match version.rules().references {
        ReferenceForm::WithHashes => Some([u8::try_from(letter).unwrap(); 32]),
        ReferenceForm::Ids => None,
    };
    EventReference {
        event_id: event_id(version, letter),
        hash,
    }
}

/// A room id of the version's form.
pub(crate) fn room_id(version: RoomVersion) -> OwnedRoomId {
    let id = match version.rules().room_id {
        RoomIdForm::WithDomain => "!r:domain".to_owned(),
        RoomIdForm::CreateEventHash => format!("!{}", "r".repeat(43)),
    };
    RoomId::parse(id).unwrap()
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
        prev_events: vec![reference(version, 'p')],
        auth_events: vec![reference(version, 'a'), reference(version, 'b')],
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
