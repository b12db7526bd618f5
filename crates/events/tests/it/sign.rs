//! Signatures and hashes: the specification's vectors, and what must not verify.

use starling_events::{
    CanonicalObject, Pdu, RoomVersion, SigningKey,
    hash::content_hash,
    sign::{VerifyError, required_servers, sign_json, signatures, verify_event, verify_json},
    unpadded_base64,
};

use crate::support::{build, builder, key, server, text};

#[track_caller]
fn check_json(input: &str, expected: &str) {
    let mut object = CanonicalObject::parse(input.as_bytes()).unwrap();
    sign_json(&mut object, "domain", &key());
    let expected = CanonicalObject::parse(expected.as_bytes()).unwrap();
    assert_eq!(text(object.as_bytes()), text(expected.as_bytes()));
    verify_json(
        object.as_bytes(),
        "domain",
        "ed25519:1",
        &key().verifying_key(),
    )
    .unwrap();
}

#[test]
fn specification_json_vectors() {
    check_json(
        "{}",
        r#"{"signatures":{"domain":{"ed25519:1":
        "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}"#,
    );
    check_json(
        r#"{"one":1,"two":"Two"}"#,
        r#"{"one":1,"signatures":{"domain":{"ed25519:1":
        "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}"#,
    );
}

/// The signatures of these vectors are those of room version 1; the content hash is the same in all.
#[test]
fn specification_content_hash_vectors() {
    let minimal = br#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,
        "signatures":{},"hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,
        "unsigned":{"age_ts":1000000}}"#;
    let redactable = br#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain",
        "origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain",
        "signatures":{},"unsigned":{"age_ts":1000000}}"#;
    for (event, expected) in [
        (
            minimal.as_slice(),
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
        ),
        (redactable, "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"),
    ] {
        let event = CanonicalObject::parse(event).unwrap();
        assert_eq!(
            unpadded_base64::encode(&content_hash(event.as_bytes())),
            expected
        );
    }
}

#[test]
fn signing_keeps_other_signatures_and_leaves_unsigned_alone() {
    let mut object = CanonicalObject::parse(br#"{"a":1,"unsigned":{"age":1}}"#).unwrap();
    let other = SigningKey::generate([1; 32], "x").unwrap();
    sign_json(&mut object, "other", &other);
    sign_json(&mut object, "domain", &other);
    sign_json(&mut object, "domain", &key());
    sign_json(&mut object, "domain", &key());
    let found: Vec<_> = signatures(object.as_bytes())
        .map(|found| (found.entity, found.key_id))
        .collect();
    let expected = [
        ("domain", "ed25519:1"),
        ("domain", "ed25519:x"),
        ("other", "ed25519:x"),
    ];
    assert_eq!(
        found,
        expected.map(|(entity, key_id)| (entity.to_owned(), key_id.to_owned()))
    );
    let changed = text(object.as_bytes()).replace("\"age\":1", "\"age\":2");
    for (entity, key) in [("domain", &key()), ("domain", &other), ("other", &other)] {
        verify_json(
            changed.as_bytes(),
            entity,
            key.key_id(),
            &key.verifying_key(),
        )
        .unwrap();
    }
}

#[test]
fn bad_signatures() {
    let mut object = CanonicalObject::parse(br#"{"a":1}"#).unwrap();
    sign_json(&mut object, "domain", &key());
    let public = key().verifying_key();
    let other = SigningKey::generate([1; 32], "1").unwrap().verifying_key();
    let json = text(object.as_bytes());
    assert_eq!(
        verify_json(json.as_bytes(), "other", "ed25519:1", &public),
        Err(VerifyError::Missing)
    );
    assert_eq!(
        verify_json(json.as_bytes(), "domain", "ed25519:2", &public),
        Err(VerifyError::Missing)
    );
    assert_eq!(
        verify_json(json.as_bytes(), "domain", "ed25519:1", &other),
        Err(VerifyError::Mismatch)
    );
    let changed = json.replace("\"a\":1", "\"a\":2");
    assert_eq!(
        verify_json(changed.as_bytes(), "domain", "ed25519:1", &public),
        Err(VerifyError::Mismatch)
    );
    for malformed in [r#""AAAA""#, r#""%""#, "1", "null", "{}"] {
        let json = format!(r#"{{"signatures":{{"domain":{{"ed25519:1":{malformed}}}}}}}"#);
        let result = verify_json(json.as_bytes(), "domain", "ed25519:1", &public);
        assert_eq!(result, Err(VerifyError::Malformed), "{malformed}");
    }
}

#[test]
fn event_signature_covers_what_redaction_keeps() {
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.message", r#"{"body":"hello"}"#);
        let public = key().verifying_key();
        let tampered = |from: &str, to: &str| {
            let json = text(event.json()).replace(from, to);
            assert_ne!(json.as_bytes(), event.json().as_ref());
            Pdu::parse(version, json.as_bytes()).unwrap()
        };
        assert_eq!(verify_event(&event, server(), "ed25519:1", &public), Ok(()));
        assert_eq!(
            verify_event(&event.redacted(), server(), "ed25519:1", &public),
            Ok(())
        );
        assert!(event.has_valid_content_hash());
        assert!(!event.redacted().has_valid_content_hash());

        let content = tampered("hello", "bye");
        assert_eq!(
            verify_event(&content, server(), "ed25519:1", &public),
            Ok(())
        );
        assert!(!content.has_valid_content_hash());
        assert_eq!(content.event_id(), event.event_id());

        let depth = tampered("\"depth\":3", "\"depth\":4");
        assert_eq!(
            verify_event(&depth, server(), "ed25519:1", &public),
            Err(VerifyError::Mismatch)
        );
        assert_ne!(depth.event_id(), event.event_id());
        let unhashed = tampered("sha256", "md5");
        assert!(!unhashed.has_valid_content_hash());
    }
}

#[track_caller]
fn check_servers(kind: &str, content: &str, expected: &[&str]) {
    let event = build(RoomVersion::V11, kind, content);
    assert_eq!(required_servers(&event), expected);
}

#[test]
fn servers_that_must_sign() {
    check_servers(
        "m.room.message",
        r#"{"join_authorised_via_users_server":"@a:other"}"#,
        &["domain"],
    );
    check_servers("m.room.member", r#"{"membership":"join"}"#, &["domain"]);
    let join = |user: &str| {
        format!(r#"{{"membership":"join","join_authorised_via_users_server":{user}}}"#)
    };
    check_servers(
        "m.room.member",
        &join(r#""@a:other""#),
        &["domain", "other"],
    );
    check_servers("m.room.member", &join(r#""@a:domain""#), &["domain"]);
    check_servers("m.room.member", &join("1"), &["domain"]);
    check_servers(
        "m.room.member",
        r#"{"membership":"invite","third_party_invite":{}}"#,
        &[],
    );
    check_servers(
        "m.room.member",
        r#"{"membership":"invite","third_party_invite":1}"#,
        &["domain"],
    );
    check_servers(
        "m.room.member",
        r#"{"membership":"join","third_party_invite":{}}"#,
        &["domain"],
    );
}

#[test]
fn signer_need_not_be_the_senders_server() {
    let event = builder(RoomVersion::V12, "x", "{}").build(
        RoomVersion::V12,
        "elsewhere".try_into().unwrap(),
        &key(),
    );
    let event = event.unwrap();
    let public = key().verifying_key();
    assert_eq!(
        verify_event(
            &event,
            "elsewhere".try_into().unwrap(),
            "ed25519:1",
            &public
        ),
        Ok(())
    );
    assert_eq!(
        verify_event(&event, server(), "ed25519:1", &public),
        Err(VerifyError::Missing)
    );
}
