//! What must hold for any bytes that a server reads as an event. The fuzz targets run these checks, and so do the tests
//! of `starling-events`, on bytes of their own making.

use std::{cell::Cell, hint::black_box};

use serde::de::IgnoredAny;
use starling_events::{
    CanonicalObject, MAX_PDU_BYTES, Pdu, RoomVersion, SigningKey, Value, VerifyingKey,
    canonical_json::{MAX_DEPTH, canonicalize},
    client_format::{self, ClientFormat},
    hash,
    keys::{KeyValidity, ServerKey},
    redact,
    room_version::JsonForm,
    sign,
};

/// Both forms of JSON.
const FORMS: [JsonForm; 2] = [JsonForm::Strict, JsonForm::Loose];

/// The room version that the first byte chooses, and the bytes that follow.
pub fn split(data: &[u8]) -> Option<(RoomVersion, &[u8])> {
    let (&first, rest) = data.split_first()?;
    let version = RoomVersion::ALL[usize::from(first) % RoomVersion::ALL.len()];
    Some((version, rest))
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Canonical JSON is JSON, is its own canonical form, and of bounded size; what is canonical in the strict form is so
/// in the loose one. Views read every member of it, in order.
pub fn canonical_json(bytes: &[u8]) {
    for form in FORMS {
        let Ok(canonical) = canonicalize(form, bytes) else {
            continue;
        };
        assert!(is_json(bytes) && is_json(&canonical));
        assert_eq!(canonicalize(form, &canonical).as_deref(), Ok(&*canonical));
        // The worst are `1e15`, written out, and a fraction of a few digits beyond a float's.
        assert!(canonical.len() <= 8 * bytes.len());
        view(Value::new(&canonical), 0);
        if form == JsonForm::Strict {
            let loose = canonicalize(JsonForm::Loose, &canonical);
            assert_eq!(loose.as_deref(), Ok(&*canonical));
        }
    }
    if let Ok(object) = CanonicalObject::parse(bytes) {
        let canonical = canonicalize(JsonForm::Strict, bytes);
        assert_eq!(canonical.as_deref(), Ok(object.as_bytes()));
    }
    any_view(bytes);
}

/// A view of canonical JSON, within so many containers, shows all of it.
fn view(value: Value<'_>, depth: usize) {
    assert!(depth <= MAX_DEPTH);
    let mut length = 0;
    let mut last: Option<String> = None;
    for (index, member) in value.members().enumerate() {
        let key = member.key().expect("a canonical key").into_owned();
        assert!(last.is_none_or(|last| last < key), "keys are sorted");
        // Looking up a key takes time in proportion to where it is.
        if index < 16 {
            let found = value.get(&key).map(Value::as_bytes);
            assert_eq!(found, Some(member.value.as_bytes()));
        }
        length += member.raw_key.len() + member.value.as_bytes().len() + 4;
        view(member.value, depth + 1);
        last = Some(key);
    }
    for element in value.elements() {
        length += element.as_bytes().len() + 1;
        view(element, depth + 1);
    }
    if length > 0 {
        assert_eq!(length + 1, value.as_bytes().len());
    }
}

/// A view of bytes that may not be canonical JSON, nor JSON: whatever it says, it says it.
fn any_view(bytes: &[u8]) {
    let value = Value::new(bytes);
    black_box((value.as_str(), value.as_integer(), value.as_bool()));
    black_box((value.get("content"), value.get("a\"\u{0}b")));
    let members = value
        .members()
        .map(|member| member.raw_key.len() + member.span.len());
    assert!(members.sum::<usize>() <= bytes.len());
    let elements = value.elements().map(|element| element.as_bytes().len());
    assert!(elements.sum::<usize>() <= bytes.len());
}

/// Bytes that are an event of the room version are the same event when they are read again, and from the database; a
/// client can read it.
pub fn pdu(version: RoomVersion, bytes: &[u8]) {
    let Ok(event) = Pdu::parse(version, bytes) else {
        return;
    };
    assert!(event.json().len() <= MAX_PDU_BYTES);
    let again = Pdu::parse(version, event.json()).expect("an event's own bytes are an event");
    same(&event, &again);
    let stored = Pdu::from_stored(version, event.event_id().to_owned(), event.json().clone());
    same(&event, &stored.expect("stored bytes are an event"));
    let id = hash::event_id(version, event.json());
    assert_eq!(id.as_deref(), Some(event.event_id()));
    assert_eq!(Value::new(event.content()).as_bytes(), event.content());
    assert!(Value::new(event.content()).is_object());
    black_box(event.has_valid_content_hash());

    let unsigned = Some(b"{}".as_slice());
    for room_id in [false, true] {
        let mut out = Vec::new();
        client_format::write(&mut out, &event, &ClientFormat { room_id, unsigned });
        assert!(is_json(&out));
    }
    let mut out = Vec::new();
    client_format::write_stripped(&mut out, &event);
    assert!(is_json(&out));
}

fn same(left: &Pdu, right: &Pdu) {
    assert_eq!(left.json(), right.json());
    assert_eq!(left.event_id(), right.event_id());
    assert_eq!(left.room_id(), right.room_id());
    assert_eq!(left.sender(), right.sender());
    assert_eq!(left.kind(), right.kind());
    assert_eq!(left.state_key(), right.state_key());
    assert_eq!(left.origin_server_ts(), right.origin_server_ts());
    assert_eq!(left.depth(), right.depth());
    assert_eq!(left.prev_events(), right.prev_events());
    assert_eq!(left.auth_events(), right.auth_events());
    assert_eq!(left.redacts(), right.redacts());
    assert_eq!(left.content(), right.content());
}

/// A redaction leaves no more than was there; redacting again leaves all of it. An event that is redacted has the same
/// id and is an event.
pub fn redaction(version: RoomVersion, bytes: &[u8]) {
    let left = redact::redact(version, bytes);
    // Of anything but an object two brackets are left, also in place of the content.
    assert!(left.len() <= 2 * bytes.len() + 2);
    let form = version.rules().json;
    if let Ok(canonical) = canonicalize(form, bytes) {
        let left = redact::redact(version, &canonical);
        assert_eq!(canonicalize(form, &left).as_deref(), Ok(&*left));
        assert_eq!(redact::redact(version, &left), left);
        let signed = redact::signed_bytes(version, &canonical);
        assert_eq!(redact::signed_bytes(version, &left), signed);
        assert!(Value::new(&signed).get("signatures").is_none());
        assert!(Value::new(&signed).get("unsigned").is_none());
    }
    let Ok(event) = Pdu::parse(version, bytes) else {
        return;
    };
    let redacted = event.redacted();
    assert_eq!(redacted.event_id(), event.event_id());
    let again = Pdu::parse(version, redacted.json()).expect("a redacted event is an event");
    same(&redacted, &again);
    same(&redacted, &redacted.redacted());
    assert_eq!(
        hash::reference_hash(version, event.json()),
        hash::reference_hash(version, redacted.json())
    );
}

fn our_key() -> (SigningKey, ServerKey) {
    let key = SigningKey::generate([7; 32], "ours").expect("a key");
    let known = ServerKey {
        key: key.verifying_key(),
        validity: KeyValidity::Until(i64::MAX),
    };
    (key, known)
}

/// Any bytes can be asked for signatures; a signed object verifies, and so does an event once all that must have signed
/// it. No more keys are looked up than the event has signatures of these servers.
pub fn signatures(version: RoomVersion, bytes: &[u8]) {
    let (key, known) = our_key();
    black_box(hash::verify_content_hash(bytes));
    let result = sign::verify_json(bytes, "domain", "ed25519:ours", &known.key);
    black_box(result.is_ok());
    assert!(sign::signatures(bytes).count() <= bytes.len());
    if let Ok(mut object) = CanonicalObject::parse(bytes) {
        sign::sign_json(&mut object, "domain", &key);
        let result = sign::verify_json(object.as_bytes(), "domain", key.key_id(), &known.key);
        assert_eq!(result, Ok(()));
    }
    if let Ok(event) = Pdu::parse(version, bytes) {
        event_signatures(&event, &key, &known);
    }
}

fn event_signatures(event: &Pdu, key: &SigningKey, known: &ServerKey) {
    let required = sign::required_servers(event);
    assert!(required.len() <= 3);
    let asked_for = sign::required_keys(event);
    assert!(asked_for.iter().map(|(server, _)| server).eq(&required));
    assert!(
        asked_for
            .iter()
            .all(|(_, key_ids)| key_ids.len() <= sign::MAX_REQUIRED_KEYS)
    );

    let in_event = sign::signatures(event.json()).count();
    let lookups = Cell::new(0);
    let tried = sign::verify_event_signatures(event, |server, _| {
        assert!(required.iter().any(|name| name == server));
        lookups.set(lookups.get() + 1);
        Some(known)
    });
    assert!(lookups.get() <= in_event + malformed(event));
    let unknown = sign::verify_event_signatures(event, |_, _| None);
    if required.is_empty() {
        assert!(tried.is_ok() && unknown.is_ok());
    } else {
        assert!(unknown.is_err(), "without keys nothing is signed");
    }

    let mut signed = event.clone();
    for server in &required {
        match sign::sign_event(&signed, server, key) {
            Ok(more) => signed = more,
            Err(_) => return,
        }
    }
    assert_eq!(signed.event_id(), event.event_id());
    let ours = |_: &_, key_id: &str| (key_id == key.key_id()).then_some(known);
    assert_eq!(sign::verify_event_signatures(&signed, ours), Ok(()));
    let other: VerifyingKey = SigningKey::generate([8; 32], "ours")
        .expect("a key")
        .verifying_key();
    let other = ServerKey {
        key: other,
        validity: known.validity,
    };
    let others = |_: &_, key_id: &str| (key_id == key.key_id()).then_some(&other);
    let result = sign::verify_event_signatures(&signed, others);
    assert_eq!(result.is_err(), !required.is_empty());
}

/// How many members of `signatures` are no text.
fn malformed(event: &Pdu) -> usize {
    let servers = event.value().get("signatures").into_iter();
    let servers = servers.flat_map(Value::members);
    servers
        .flat_map(|server| server.value.members())
        .filter(|signature| signature.value.as_str().is_none())
        .count()
}
