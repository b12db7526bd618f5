//! Signatures: who must have signed, with which keys, and what must not verify.

use std::cell::RefCell;

use serde_json::Value as Json;
use starling_events::{
    CanonicalObject, MAX_PDU_BYTES, ParseError, Pdu, RoomVersion, SigningKey,
    keys::{KeyValidity, ServerKey},
    room_version::EventIdForm,
    sign::{
        MAX_REQUIRED_KEYS, SignatureProblem, VerifyError, required_keys, required_servers,
        sign_event, sign_json, signatures, verify_event_signatures, verify_json,
    },
};

use crate::support::{build, builder, key, server, text};

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

/// Other homeservers take padding, both alphabets, and bits that are left over.
#[test]
fn lenient_base64_of_signatures() {
    let mut object = CanonicalObject::parse(br#"{"a":1}"#).unwrap();
    sign_json(&mut object, "domain", &key());
    let public = key().verifying_key();
    let signature = signatures(object.as_bytes()).next().unwrap().signature;
    let url_safe = signature.replace('+', "-").replace('/', "_");
    assert_ne!(url_safe, signature);
    let mut bits_left_over = signature.clone();
    let last = bits_left_over.pop().unwrap();
    bits_left_over.push(char::from_u32(u32::from(last) + 1).unwrap());
    for written in [
        format!("{signature}=="),
        bits_left_over,
        url_safe.clone(),
        format!("{url_safe}=="),
    ] {
        let json = text(object.as_bytes()).replace(&signature, &written);
        let result = verify_json(json.as_bytes(), "domain", "ed25519:1", &public);
        assert_eq!(result, Ok(()), "{written}");
    }
}

fn known(key: &SigningKey, validity: KeyValidity) -> ServerKey {
    ServerKey {
        key: key.verifying_key(),
        validity,
    }
}

fn ours() -> ServerKey {
    known(&key(), KeyValidity::Until(i64::MAX))
}

/// Checks the event with these keys: server, key id, what is known.
fn check(event: &Pdu, keys: &[(&str, &str, ServerKey)]) -> Result<(), (String, SignatureProblem)> {
    let looked_up = RefCell::new(Vec::new());
    let result = verify_event_signatures(event, |server, key_id| {
        let asked = (server.to_owned(), key_id.to_owned());
        assert!(!looked_up.borrow().contains(&asked), "a key is tried once");
        looked_up.borrow_mut().push(asked);
        let found = keys
            .iter()
            .find(|(name, id, _)| server == *name && key_id == *id);
        found.map(|(_, _, key)| key)
    });
    result.map_err(|error| (error.server.to_string(), error.problem))
}

fn problem<T>(server: &str, problem: SignatureProblem) -> Result<T, (String, SignatureProblem)> {
    Err((server.to_owned(), problem))
}

#[test]
fn event_signature_covers_what_redaction_keeps() {
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.message", r#"{"body":"hello"}"#);
        let keys = [("domain", "ed25519:1", ours())];
        let tampered = |from: &str, to: &str| {
            let json = text(event.json()).replace(from, to);
            assert_ne!(json.as_bytes(), event.json().as_ref());
            Pdu::parse(version, json.as_bytes()).unwrap()
        };
        assert_eq!(check(&event, &keys), Ok(()));
        assert_eq!(check(&event.redacted(), &keys), Ok(()));
        assert!(event.has_valid_content_hash());
        assert!(!event.redacted().has_valid_content_hash());

        let content = tampered("hello", "bye");
        assert_eq!(check(&content, &keys), Ok(()));
        assert!(!content.has_valid_content_hash());
        assert_eq!(content.event_id(), event.event_id());

        let depth = tampered("\"depth\":3", "\"depth\":4");
        let mismatch = problem("domain", SignatureProblem::Mismatch);
        assert_eq!(check(&depth, &keys), mismatch);
        let is_stated = version.rules().event_id == EventIdForm::Stated;
        assert_eq!(depth.event_id() == event.event_id(), is_stated);
        let unhashed = tampered("sha256", "md5");
        assert!(!unhashed.has_valid_content_hash());
    }
}

#[test]
fn keys_count_until_they_expire() {
    use KeyValidity::{ExpiredAt, Until};
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.message", "{}");
        let time = event.origin_server_ts();
        for (validity, expected) in [
            (Until(time), None),
            (ExpiredAt(time), None),
            (Until(time - 1), Some(SignatureProblem::Outdated)),
            (ExpiredAt(time - 1), Some(SignatureProblem::Expired)),
        ] {
            let keys = [("domain", "ed25519:1", known(&key(), validity))];
            // Before room version 5 no key's validity is enforced.
            let expected = expected.filter(|_| version >= RoomVersion::V5);
            let expected = expected.map_or(Ok(()), |found| problem("domain", found));
            assert_eq!(check(&event, &keys), expected, "version {version}");
        }
    }
}

/// An event of `domain` with these signatures of it in place of its own.
fn with_signatures(of_domain: &str) -> Pdu {
    let event = build(RoomVersion::V11, "m.room.message", "{}");
    let mut json: Json = serde_json::from_slice(event.json()).unwrap();
    json["signatures"]["domain"] = serde_json::from_str(of_domain).unwrap();
    Pdu::parse(RoomVersion::V11, json.to_string().as_bytes()).unwrap()
}

#[test]
fn events_without_a_good_signature() {
    use SignatureProblem::{Malformed, Mismatch, Missing, UnknownKey};
    let keys = [("domain", "ed25519:1", ours())];
    let zeros = "A".repeat(86);
    for (signatures, expected) in [
        ("{}", Missing),
        ("1", Missing),
        (r#"{"rsa:1":"AAAA"}"#, Missing),
        (r#"{"ed25519":"AAAA","1":"AAAA","":"AAAA"}"#, Missing),
        (r#"{"ed25519:":"AAAA","ed25519:a:b":"AAAA"}"#, Missing),
        (r#"{"ed25519:2":"AAAA"}"#, UnknownKey),
        (r#"{"ed25519:2":1}"#, UnknownKey),
        (r#"{"ed25519:1":"AAAA"}"#, Malformed),
        (r#"{"ed25519:1":1}"#, Malformed),
        (r#"{"ed25519:1":null}"#, Malformed),
        (&format!(r#"{{"ed25519:1":"{zeros}"}}"#), Mismatch),
    ] {
        let event = with_signatures(signatures);
        let expected = problem("domain", expected);
        assert_eq!(check(&event, &keys), expected, "{signatures}");
    }
    let message = verify_event_signatures(&with_signatures("{}"), |_, _| None).unwrap_err();
    assert_eq!(message.to_string(), "domain: no signature");
}

#[test]
fn all_signatures_by_known_keys_must_hold() {
    use KeyValidity::{ExpiredAt, Until};
    use SignatureProblem::{Expired, Mismatch, Outdated, UnknownKey};
    let event = build(RoomVersion::V11, "m.room.message", "{}");
    let other = SigningKey::generate([1; 32], "2").unwrap();
    let event = sign_event(&event, server(), &other).unwrap();
    let good = |validity| ("domain", "ed25519:1", known(&key(), validity));
    let second = |key: &_, validity| ("domain", "ed25519:2", known(key, validity));
    let (valid, expired, outdated) = (Until(i64::MAX), ExpiredAt(0), Until(0));

    assert_eq!(check(&event, &[good(valid), second(&other, valid)]), Ok(()));
    assert_eq!(
        check(&event, &[good(valid), second(&key(), valid)]),
        problem("domain", Mismatch)
    );
    // A key that doesn't count is not tried.
    assert_eq!(
        check(&event, &[good(valid), second(&key(), expired)]),
        Ok(())
    );
    assert_eq!(
        check(&event, &[good(valid), second(&key(), outdated)]),
        Ok(())
    );
    assert_eq!(check(&event, &[good(valid)]), Ok(()));
    assert_eq!(check(&event, &[second(&other, valid)]), Ok(()));
    // What fetching keys may mend is told rather than what it can't.
    for (keys, expected) in [
        (vec![good(expired)], UnknownKey),
        (vec![good(expired), second(&other, expired)], Expired),
        (vec![good(expired), second(&other, outdated)], Outdated),
        (vec![good(outdated), second(&other, expired)], Outdated),
        (vec![], UnknownKey),
    ] {
        assert_eq!(check(&event, &keys), problem("domain", expected));
    }
    // Keys go with their server.
    let elsewhere = ("elsewhere", "ed25519:1", ours());
    assert_eq!(check(&event, &[elsewhere]), problem("domain", UnknownKey));
}

#[test]
fn every_required_server_must_have_signed() {
    let join = r#"{"membership":"join","join_authorised_via_users_server":"@a:resident"}"#;
    let resident = SigningKey::generate([1; 32], "r").unwrap();
    let keys = [
        ("domain", "ed25519:1", ours()),
        (
            "resident",
            "ed25519:r",
            known(&resident, KeyValidity::Until(i64::MAX)),
        ),
    ];
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.member", join);
        let expected = if version.rules().restricted {
            problem("resident", SignatureProblem::Missing)
        } else {
            Ok(())
        };
        assert_eq!(check(&event, &keys), expected, "version {version}");

        let signed = sign_event(&event, "resident".try_into().unwrap(), &resident).unwrap();
        assert_eq!(check(&signed, &keys), Ok(()));
        assert_eq!(signed.event_id(), event.event_id());
        assert_eq!(signed.content(), event.content());
        assert!(signed.has_valid_content_hash());
        let parsed = Pdu::parse(version, signed.json()).unwrap();
        assert_eq!(parsed.event_id(), event.event_id());
        if version.rules().restricted {
            let unknown = problem("resident", SignatureProblem::UnknownKey);
            assert_eq!(check(&signed, &keys[..1]), unknown);
        }
    }
}

#[test]
fn domain_of_a_stated_id_must_have_signed() {
    for version in RoomVersion::ALL {
        // Made by a server that is not the sender's.
        let elsewhere = SigningKey::generate([1; 32], "e").unwrap();
        let event = builder(version, "m.room.message", "{}");
        let event = event.build(version, "elsewhere".try_into().unwrap(), &elsewhere);
        let event = event.unwrap();
        let theirs = known(&elsewhere, KeyValidity::Until(i64::MAX));
        let keys = [
            ("domain", "ed25519:1", ours()),
            ("elsewhere", "ed25519:e", theirs),
        ];
        let unsigned = problem("domain", SignatureProblem::Missing);
        assert_eq!(check(&event, &keys), unsigned);
        let event = sign_event(&event, server(), &key()).unwrap();
        assert_eq!(check(&event, &keys), Ok(()));
        let expected = if version < RoomVersion::V3 {
            problem("elsewhere", SignatureProblem::UnknownKey)
        } else {
            Ok(())
        };
        assert_eq!(check(&event, &keys[..1]), expected, "version {version}");
    }
}

#[test]
fn no_room_for_another_signature() {
    let len = build(RoomVersion::V11, "m.room.message", r#"{"body":""}"#)
        .json()
        .len();
    let content = format!(r#"{{"body":"{}"}}"#, "x".repeat(MAX_PDU_BYTES - len));
    let event = build(RoomVersion::V11, "m.room.message", &content);
    assert_eq!(event.json().len(), MAX_PDU_BYTES);
    let result = sign_event(&event, "other".try_into().unwrap(), &key());
    assert_eq!(result.unwrap_err(), ParseError::TooLarge("event"));
    let again = sign_event(&event, server(), &key()).unwrap();
    assert_eq!(again.json(), event.json());
}

#[test]
fn keys_to_fetch() {
    let event =
        with_signatures(r#"{"ed25519:a":"AAAA","ed25519:b":1,"rsa:c":"AAAA","ed25519:\u0000":""}"#);
    let expected = vec!["ed25519:a".to_owned(), "ed25519:b".to_owned()];
    assert_eq!(required_keys(&event), [(server().to_owned(), expected)]);
    let unsigned = with_signatures("{}");
    assert_eq!(required_keys(&unsigned), [(server().to_owned(), vec![])]);

    let many: Vec<_> = (0..500)
        .map(|number| format!(r#""ed25519:{number:03}":"AAAA""#))
        .collect();
    let event = with_signatures(&format!("{{{}}}", many.join(",")));
    let (_, key_ids) = required_keys(&event).remove(0);
    assert_eq!(key_ids.len(), MAX_REQUIRED_KEYS);
    assert_eq!(key_ids[0], "ed25519:000");
}

#[test]
fn a_third_party_invite_that_redaction_makes_an_ordinary_one_is_signed_by_its_sender() {
    for version in RoomVersion::ALL {
        let content = r#"{"membership":"invite","third_party_invite":{"signed":{"token":"t"}}}"#;
        let event = build(version, "m.room.member", content);
        let good: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
        let mut forged = good.clone();
        forged["hashes"]["sha256"] = "A".repeat(43).into();
        let forged = Pdu::parse(version, forged.to_string().as_bytes()).unwrap();
        assert!(!forged.has_valid_content_hash());
        let redacted = forged.redacted();
        let stays = redacted
            .value()
            .get("content")
            .and_then(|content| content.get("third_party_invite"));
        let needs_sender = required_servers(&forged)
            .iter()
            .any(|server| server == "domain");
        assert_eq!(needs_sender, stays.is_none(), "version {version}");
        assert!(required_servers(&event).is_empty(), "version {version}");
    }
}

#[track_caller]
fn check_servers(kind: &str, content: &str, expected: impl Fn(RoomVersion) -> Vec<&'static str>) {
    for version in RoomVersion::ALL {
        let event = build(version, kind, content);
        let expected = expected(version);
        assert_eq!(required_servers(&event), expected, "version {version}");
    }
}

#[test]
fn servers_that_must_sign() {
    let sender = |_| vec!["domain"];
    let none = |_| vec![];
    check_servers(
        "m.room.message",
        r#"{"join_authorised_via_users_server":"@a:other"}"#,
        sender,
    );
    check_servers("m.room.member", r#"{"membership":"join"}"#, sender);
    let join = |user: &str| {
        format!(r#"{{"membership":"join","join_authorised_via_users_server":{user}}}"#)
    };
    let both = |version| {
        if version < RoomVersion::V8 {
            vec!["domain"]
        } else {
            vec!["domain", "other"]
        }
    };
    check_servers("m.room.member", &join(r#""@a:other""#), both);
    check_servers(
        "m.room.member",
        r#"{"membership":"leave","join_authorised_via_users_server":"@a:other"}"#,
        both,
    );
    check_servers("m.room.member", &join(r#""@a:domain""#), sender);
    check_servers("m.room.member", &join("1"), sender);
    check_servers("m.room.member", &join(r#""a:other""#), sender);
    let invite = |value: &str| format!(r#"{{"membership":"invite","third_party_invite":{value}}}"#);
    // The domain of the stated id is the sender's: it is not asked for either.
    check_servers("m.room.member", &invite("{}"), none);
    check_servers("m.room.member", &invite("1"), sender);
    check_servers("m.room.message", &invite("{}"), sender);
    check_servers(
        "m.room.member",
        r#"{"membership":"join","third_party_invite":{}}"#,
        sender,
    );
}

#[test]
fn third_party_invite_of_another_server() {
    let content = r#"{"membership":"invite","third_party_invite":{"signed":{}}}"#;
    for version in RoomVersion::ALL {
        let event = builder(version, "m.room.member", content)
            .build(version, "elsewhere".try_into().unwrap(), &key())
            .unwrap();
        let mut expected = vec![];
        if version.rules().event_id == EventIdForm::Stated {
            expected.push("elsewhere");
        }
        assert_eq!(required_servers(&event), expected, "version {version}");
        assert_eq!(check(&event, &[("elsewhere", "ed25519:1", ours())]), Ok(()));
        assert_eq!(check(&event, &[]).is_ok(), expected.is_empty());
    }
}
