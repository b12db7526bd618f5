//! Content hash, reference hash and event id.
//! <https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event>

use ruma_common::{OwnedEventId, OwnedRoomId};
use sha2::{Digest, Sha256};

use crate::{
    id,
    object::Object,
    redact,
    room_version::{EventIdForm, RoomVersion},
    unpadded_base64,
    value::Value,
};

/// The hash of the complete event, over its canonical bytes without `hashes`, `signatures` and `unsigned`.
#[must_use]
pub fn content_hash(event: &[u8]) -> [u8; 32] {
    content_hash_of(&Object::new(event))
}

fn content_hash_of(event: &Object<'_>) -> [u8; 32] {
    Sha256::digest(event.without(&["hashes", "signatures", "unsigned"])).into()
}

/// The hash of what a redaction leaves of the event, without `signatures` and `unsigned`.
#[must_use]
pub fn reference_hash(version: RoomVersion, event: &[u8]) -> [u8; 32] {
    Sha256::digest(redact::signed_bytes(version, event)).into()
}

/// Whether `hashes.sha256` is the event's content hash.
#[must_use]
pub fn verify_content_hash(event: &[u8]) -> bool {
    let event = Object::new(event);
    let stated = event.get("hashes").and_then(|hashes| hashes.get("sha256"));
    let stated = stated
        .and_then(Value::as_str)
        .and_then(|text| unpadded_base64::decode_either(&text));
    stated.is_some_and(|hash| hash == content_hash_of(&event))
}

/// The id of the event with these canonical bytes. `None` if the event should state its id (in room versions 1 and 2)
/// and doesn't.
#[must_use]
pub fn event_id(version: RoomVersion, event: &[u8]) -> Option<OwnedEventId> {
    match version.rules().event_id {
        EventIdForm::Stated => {
            let stated = Value::new(event).get("event_id")?.as_str()?;
            id::parse_event_id(version, &stated).ok()
        }
        EventIdForm::Hash | EventIdForm::UrlSafeHash => Some(event_id_of_signed_bytes(
            version,
            &redact::signed_bytes(version, event),
        )),
    }
}

/// The id of the event of which these bytes are the signed ones (see [`redact::signed_bytes`]), in room versions where
/// it is their hash.
pub(crate) fn event_id_of_signed_bytes(version: RoomVersion, signed: &[u8]) -> OwnedEventId {
    let hash = Sha256::digest(signed);
    let hash = match version.rules().event_id {
        EventIdForm::Hash => unpadded_base64::encode(&hash),
        EventIdForm::Stated | EventIdForm::UrlSafeHash => unpadded_base64::encode_url_safe(&hash),
    };
    OwnedEventId::try_from(format!("${hash}")).expect("a dollar and base64 are an event id")
}

/// The room id that a create event's id makes, in room versions where it does.
pub(crate) fn room_id_of_create(event_id: &OwnedEventId) -> OwnedRoomId {
    let id = event_id.as_str().replacen('$', "!", 1);
    OwnedRoomId::try_from(id).expect("an exclamation mark and an event id's rest are a room id")
}
