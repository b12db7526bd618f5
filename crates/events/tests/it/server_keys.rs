//! <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>

use ruma_common::OwnedServerName;
use serde_json::{Value, json};
use starling_events::server_keys::{
    KeyDocument, KeyDocumentError, MAX_KEY_DOCUMENT_BYTES, MAX_KEYS, OldKey, own_key_document,
};
use starling_events::{CanonicalObject, KeyValidity, SigningKey, sign};

const NOW: i64 = 1_700_000_000_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

fn server() -> OwnedServerName {
    "a.example".try_into().expect("a server name")
}

fn key(seed: u8, version: &str) -> SigningKey {
    SigningKey::generate([seed; 32], version).expect("a key")
}

/// The document with a change, signed anew.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let document = own_key_document(&server(), &key(1, "new"), &[], NOW + DAY).expect("a document");
    let mut value: Value = serde_json::from_slice(document.as_bytes()).expect("JSON");
    value
        .as_object_mut()
        .expect("an object")
        .remove("signatures");
    change(&mut value);
    let mut document = CanonicalObject::from_serialize(&value).expect("an object");
    sign::sign_json(&mut document, "a.example", &key(1, "new"));
    document.as_bytes().to_vec()
}

fn parse(bytes: &[u8]) -> Result<KeyDocument, KeyDocumentError> {
    KeyDocument::parse(&server(), bytes, NOW)
}

#[test]
fn our_own_document_tells_keys_in_use_and_old_ones() {
    let old = OldKey {
        key_id: "ed25519:old".to_owned(),
        key: key(2, "old").verifying_key(),
        expired_ts: NOW - DAY,
    };
    let document =
        own_key_document(&server(), &key(1, "new"), &[old], NOW + DAY).expect("a document");
    let parsed = parse(document.as_bytes()).expect("a document");
    assert_eq!(&*parsed.json, document.as_bytes());
    assert_eq!(parsed.valid_until_ts, NOW + DAY);
    let known: Vec<_> = parsed
        .keys
        .iter()
        .map(|(key_id, known)| (key_id.as_str(), known.key.clone(), known.validity))
        .collect();
    assert_eq!(
        known,
        [
            (
                "ed25519:new",
                key(1, "new").verifying_key(),
                KeyValidity::Until(NOW + DAY)
            ),
            (
                "ed25519:old",
                key(2, "old").verifying_key(),
                KeyValidity::ExpiredAt(NOW - DAY)
            ),
        ]
    );
}

#[test]
fn validity_ends_after_a_week_whatever_a_document_says() {
    let parsed = parse(&changed(|value| {
        value["valid_until_ts"] = json!(NOW + 1000 * DAY);
    }));
    let parsed = parsed.expect("a document");
    assert_eq!(
        parsed.keys["ed25519:new"].validity,
        KeyValidity::Until(NOW + 7 * DAY)
    );
}

#[test]
fn documents_that_prove_nothing_are_refused() {
    let refused = |bytes: &[u8]| parse(bytes).expect_err("it is refused");
    let other = changed(|value| value["server_name"] = json!("b.example"));
    assert_eq!(
        refused(&other),
        KeyDocumentError::OtherServer("b.example".to_owned())
    );
    for property in ["server_name", "valid_until_ts", "verify_keys"] {
        let without =
            changed(|value| drop(value.as_object_mut().expect("an object").remove(property)));
        assert_eq!(refused(&without), KeyDocumentError::Property(property));
    }
    let text = changed(|value| value["valid_until_ts"] = json!("soon"));
    assert_eq!(refused(&text), KeyDocumentError::Property("valid_until_ts"));
    // Signed by a key that is only among the old ones, or by one that isn't there, or changed afterwards.
    let moved = changed(|value| {
        let mut key = value["verify_keys"]["ed25519:new"].take();
        key["expired_ts"] = json!(NOW);
        value["old_verify_keys"] = json!({"ed25519:new": key});
        value["verify_keys"] = json!({"ed25519:other": {"key": crate::server_keys::key(3, "other").verifying_key().to_base64()}});
    });
    assert_eq!(refused(&moved), KeyDocumentError::NotSigned);
    let mut forged: Value = serde_json::from_slice(&changed(|_| ())).expect("JSON");
    forged["valid_until_ts"] = json!(NOW + 2 * DAY);
    assert_eq!(
        refused(forged.to_string().as_bytes()),
        KeyDocumentError::NotSigned
    );
    assert!(matches!(refused(b"[]"), KeyDocumentError::Property(_)));
    assert!(matches!(refused(b"{"), KeyDocumentError::Json(_)));
    assert_eq!(
        refused(&vec![b' '; MAX_KEY_DOCUMENT_BYTES + 1]),
        KeyDocumentError::TooLarge
    );
}

#[test]
fn what_is_no_key_is_left_out_and_keys_are_bounded() {
    let bytes = changed(|value| {
        let good = value["verify_keys"]["ed25519:new"].clone();
        let keys = value["verify_keys"].as_object_mut().expect("an object");
        keys.insert("rsa:1".to_owned(), good.clone());
        keys.insert("ed25519:a-b".to_owned(), good.clone());
        keys.insert("ed25519:short".to_owned(), json!({"key": "AAAA"}));
        keys.insert("ed25519:none".to_owned(), json!(7));
        let mut old = good;
        old["expired_ts"] = json!(NOW);
        let many = (0..2 * MAX_KEYS).map(|n| (format!("ed25519:x{n}"), old.clone()));
        value["old_verify_keys"] = Value::Object(many.collect());
    });
    let parsed = parse(&bytes).expect("a document");
    assert_eq!(parsed.keys.len(), MAX_KEYS);
    assert!(parsed.keys.contains_key("ed25519:new"));
    assert!(
        parsed
            .keys
            .keys()
            .all(|key_id| key_id == "ed25519:new" || key_id.starts_with("ed25519:x"))
    );
}
