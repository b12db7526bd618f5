//! The specification's test vectors and examples, each with the section that it is from.

use serde_json::{Value as Json, json};
use starling_events::{
    CanonicalObject, ParseError, Pdu, RoomVersion, Value, VerifyingKey,
    canonical_json::canonicalize,
    hash,
    keys::{KeyValidity, ServerKey},
    redact,
    room_version::{EventIdForm, JsonForm},
    sign::{
        SignatureProblem, VerifyError, required_servers, sign_json, verify_event_signatures,
        verify_json,
    },
    unpadded_base64,
};

use crate::support::{key, text};

/// <https://spec.matrix.org/v1.19/appendices/#unpadded-base64>
#[test]
fn unpadded_base64() {
    for (plain, encoded) in [
        ("", ""),
        ("f", "Zg"),
        ("fo", "Zm8"),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg"),
        ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(unpadded_base64::encode(plain.as_bytes()), encoded);
        assert_eq!(unpadded_base64::decode(encoded).unwrap(), plain.as_bytes());
        // "implementations SHOULD accept input with or without padding characters"
        let padded = format!("{encoded}{}", "=".repeat((4 - encoded.len() % 4) % 4));
        assert_eq!(unpadded_base64::decode(&padded).unwrap(), plain.as_bytes());
    }
}

/// <https://spec.matrix.org/v1.19/appendices/#examples>
#[test]
fn canonical_json() {
    for (input, expected) in [
        ("{}", "{}"),
        (r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#),
        (r#"{ "b": "2", "a": "1" }"#, r#"{"a":"1","b":"2"}"#),
        (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
            "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
            {"medium": "msisdn", "address": "123456789"}]}}}"#,
            concat!(
                r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":["#,
                r#"{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"#,
                r#""success":true}}"#,
            ),
        ),
        (r#"{ "a": "日本語" }"#, r#"{"a":"日本語"}"#),
        (r#"{ "本": 2, "日": 1 }"#, r#"{"日":1,"本":2}"#),
        (r#"{ "a": "\u65E5" }"#, r#"{"a":"日"}"#),
        (r#"{ "a": null }"#, r#"{"a":null}"#),
        (r#"{ "a": -0, "b": 1e10 }"#, r#"{"a":0,"b":10000000000}"#),
    ] {
        let strict = canonicalize(JsonForm::Strict, input.as_bytes()).unwrap();
        assert_eq!(text(&strict), expected);
        // The last is an example of what room versions 1 to 5 may say otherwise.
        if !input.contains("1e10") {
            let loose = canonicalize(JsonForm::Loose, input.as_bytes()).unwrap();
            assert_eq!(text(&loose), expected);
        }
    }
}

/// <https://spec.matrix.org/v1.19/appendices/#json-signing>
#[test]
fn json_signing() {
    for (input, expected) in [
        (
            "{}",
            r#"{"signatures":{"domain":{"ed25519:1":
            "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}"#,
        ),
        (
            r#"{"one":1,"two":"Two"}"#,
            r#"{"one":1,"signatures":{"domain":{"ed25519:1":
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}"#,
        ),
    ] {
        let mut object = CanonicalObject::parse(input.as_bytes()).unwrap();
        sign_json(&mut object, "domain", &key());
        let expected = CanonicalObject::parse(expected.as_bytes()).unwrap();
        assert_eq!(text(object.as_bytes()), text(expected.as_bytes()));
        let public = key().verifying_key();
        verify_json(object.as_bytes(), "domain", "ed25519:1", &public).unwrap();
    }
}

/// <https://spec.matrix.org/v1.19/appendices/#signing-details>
///
/// The example has the form of a signed object, but it is an illustration: its signature is not that of its key.
#[test]
fn signing_details() {
    let object = CanonicalObject::parse(
        br#"{"name": "example.org",
        "signing_keys": {"ed25519:1": "XSl0kuyvrXNj6A+7/tkrB9sxSbRi08Of5uRhxOqZtEQ"},
        "unsigned": {"age_ts": 922834800000},
        "signatures": {"example.org": {"ed25519:1":
        "s76RUgajp8w172am0zQb/iPTHsRnb4SkrzGoeCOSFfcBY2V/1c8QfrmdXHpvnc2jK5BD1WiJIxiMW95fMjK7Bw"}}}"#,
    )
    .unwrap();
    let keys = object.value().get("signing_keys").unwrap();
    let public = keys.get("ed25519:1").and_then(Value::as_str).unwrap();
    let public = VerifyingKey::from_base64(&public).unwrap();
    assert_eq!(
        verify_json(object.as_bytes(), "example.org", "ed25519:1", &public),
        Err(VerifyError::Mismatch)
    );
}

const MINIMAL_EVENT: &str = r#"{
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000}
}"#;

const REDACTABLE_EVENT: &str = r#"{
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000}
}"#;

/// The vectors' events with content hash and signature.
const SIGNED_EVENTS: [(&str, &str, &str); 2] = [
    (
        MINIMAL_EVENT,
        "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
    ),
    (
        REDACTABLE_EVENT,
        "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
    ),
];

fn signed(event: &str, sha256: &str, signature: &str) -> Vec<u8> {
    let mut event: Json = serde_json::from_str(event).unwrap();
    event["hashes"] = json!({ "sha256": sha256 });
    event["signatures"] = json!({ "domain": { "ed25519:1": signature } });
    canonicalize(JsonForm::Strict, event.to_string().as_bytes()).unwrap()
}

/// From room version 11 on `origin` is redacted, and with it the signatures of these events change.
fn signs_origin(version: RoomVersion) -> bool {
    version < RoomVersion::V11
}

/// <https://spec.matrix.org/v1.19/appendices/#event-signing>
///
/// Neither event is whole in any room version, so these are the hash and the signature of bytes.
#[test]
fn event_signing() {
    for (event, sha256, signature) in SIGNED_EVENTS {
        let event = signed(event, sha256, signature);
        let hash = hash::content_hash(&event);
        assert_eq!(unpadded_base64::encode(&hash), sha256);
        assert!(hash::verify_content_hash(&event));
        for version in RoomVersion::ALL {
            let made = key().sign(&redact::signed_bytes(version, &event));
            assert_eq!(
                made == signature,
                signs_origin(version),
                "version {version}"
            );
        }
    }
}

/// The same by the algorithm of redacting the event and signing it as JSON, step by step.
#[test]
fn event_signing_by_redaction() {
    for (event, sha256, signature) in SIGNED_EVENTS {
        let event = signed(event, sha256, signature);
        for version in RoomVersion::ALL
            .into_iter()
            .filter(|&version| signs_origin(version))
        {
            let redacted = redact::redact(version, &event);
            let public = key().verifying_key();
            verify_json(&redacted, "domain", "ed25519:1", &public).unwrap();
        }
    }
}

/// The minimal event as one of a room, where its form allows.
#[test]
fn minimal_event_as_pdu() {
    let (event, sha256, signature) = SIGNED_EVENTS[0];
    let event = signed(event, sha256, signature);
    let known = ServerKey {
        key: key().verifying_key(),
        validity: KeyValidity::Until(1_000_000),
    };
    for version in &RoomVersion::ALL[..2] {
        let error = Pdu::parse(*version, &event).unwrap_err();
        assert_eq!(error, ParseError::Missing("event_id"));
    }
    for version in &RoomVersion::ALL[2..11] {
        let event = Pdu::parse(*version, &event).unwrap();
        assert!(event.has_valid_content_hash());
        assert_eq!(required_servers(&event), ["domain"]);
        let result = verify_event_signatures(&event, |server, key_id| {
            assert_eq!((server.as_str(), key_id), ("domain", "ed25519:1"));
            Some(&known)
        });
        if signs_origin(*version) {
            result.unwrap();
        } else {
            assert_eq!(result.unwrap_err().problem, SignatureProblem::Mismatch);
        }
    }
    // In the last version a room id is a hash.
    let error = Pdu::parse(RoomVersion::V12, &event).unwrap_err();
    assert_eq!(error, ParseError::Invalid("room_id"));
}

/// The event of the specification's examples for PDUs, without what differs between room versions.
fn example_pdu() -> Json {
    json!({
        "room_id": "!UcYsUzyxTGDxLBEvLy:example.org",
        "sender": "@alice:example.com",
        "origin_server_ts": 1_404_838_188_000_i64,
        "depth": 12,
        "type": "m.room.message",
        "content": {"key": "value"},
        "hashes": {"sha256": "thishashcoversallfieldsincasethisisredacted"},
        "signatures": {"example.com": {"ed25519:key_version":
            "these86bytesofbase64signaturecoveressentialfieldsincludinghashessocancheckredactedpdus"}},
        "unsigned": {"age": 4612}
    })
}

fn example_ids(ids: &Json) -> Json {
    let mut event = example_pdu();
    event["prev_events"] = ids.clone();
    event["auth_events"] = ids.clone();
    event
}

fn parse(version: RoomVersion, event: &Json) -> Result<Pdu, ParseError> {
    Pdu::parse(version, event.to_string().as_bytes())
}

/// <https://spec.matrix.org/v1.19/rooms/v1/#event-format>
#[test]
fn example_of_version_1() {
    let mut event = example_ids(
        &json!([["$af232176:example.org", {"sha256": "abase64encodedsha256hashshouldbe43byteslong"}]]),
    );
    event["event_id"] = "$a4ecee13e2accdadf56c1025:example.com".into();
    for version in &RoomVersion::ALL[..2] {
        let event = parse(*version, &event).unwrap();
        assert_eq!(event.event_id(), "$a4ecee13e2accdadf56c1025:example.com");
        assert_eq!(event.prev_events(), ["$af232176:example.org"]);
        assert_eq!(event.auth_events(), ["$af232176:example.org"]);
        assert_eq!(required_servers(&event), ["example.com"]);
        assert!(!event.has_valid_content_hash());
    }
}

/// <https://spec.matrix.org/v1.19/rooms/v3/#event-ids>, <https://spec.matrix.org/v1.19/rooms/v4/#event-ids>,
/// <https://spec.matrix.org/v1.19/rooms/v12/#event-format>
///
/// The ids in the examples of whole events are words. As ids are hashes, those are refused; with the ids that the
/// specification gives as looking right, the examples are events.
#[test]
fn examples_of_later_versions() {
    for version in &RoomVersion::ALL[2..] {
        let rules = version.rules();
        let id = if rules.event_id == EventIdForm::Hash {
            "$CD66HAED5npg6074c6pDtLKalHjVfYb2q4Q3LZgrW6o"
        } else {
            "$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"
        };
        let mut words = example_ids(&json!([
            "$urlsafe_base64_encoded_eventid",
            "$a-different-event-id"
        ]));
        let mut event = example_ids(&json!([id]));
        if *version == RoomVersion::V12 {
            let room_id = json!("!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ");
            words["room_id"] = room_id.clone();
            event["room_id"] = room_id;
        }
        assert!(matches!(
            parse(*version, &words),
            Err(ParseError::Invalid(_))
        ));
        let event = parse(*version, &event).unwrap();
        assert_eq!(event.prev_events(), [id]);
        assert_eq!(required_servers(&event), ["example.com"]);
    }
}

/// The example of a restricted join, which two servers sign.
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
#[test]
fn example_of_a_restricted_join() {
    let mut event = example_ids(&json!(["$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"]));
    event["type"] = "m.room.member".into();
    event["state_key"] = "@alice:example.com".into();
    event["content"] = json!({
        "membership": "join",
        "join_authorised_via_users_server": "@arbitrary:resident.example.com"
    });
    event["signatures"]["resident.example.com"] =
        json!({"ed25519:other_key_version": "a different signature"});
    for version in &RoomVersion::ALL[3..11] {
        let event = parse(*version, &event).unwrap();
        if version.rules().restricted {
            let expected = ["example.com", "resident.example.com"];
            assert_eq!(required_servers(&event), expected);
        } else {
            assert_eq!(required_servers(&event), ["example.com"]);
        }
    }
}
