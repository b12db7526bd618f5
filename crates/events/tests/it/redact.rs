//! Redaction, key by key.

use starling_events::{
    CanonicalObject, Pdu, RoomVersion,
    RoomVersion::{V1, V5, V8, V9, V10, V11, V12},
    Value, hash,
    redact::{redact, signed_bytes},
    room_version::{RedactsPlace, RoomIdForm},
};

use crate::support::{build, builder, event_id, key, server, text};

/// The keys of an event, with the first and the last room version whose algorithm keeps them.
const EVENT_KEYS: [(&str, RoomVersion, RoomVersion); 15] = [
    ("auth_events", V1, V12),
    ("content", V1, V12),
    ("depth", V1, V12),
    ("event_id", V1, V12),
    ("hashes", V1, V12),
    ("membership", V1, V10),
    ("origin", V1, V10),
    ("origin_server_ts", V1, V12),
    ("prev_events", V1, V12),
    ("prev_state", V1, V10),
    ("room_id", V1, V12),
    ("sender", V1, V12),
    ("signatures", V1, V12),
    ("state_key", V1, V12),
    ("type", V1, V12),
];

/// The same of keys in the content, by type. A create event keeps all of them from version 11 on.
const CONTENT_KEYS: [(&str, &str, RoomVersion, RoomVersion); 18] = [
    ("m.room.member", "membership", V1, V12),
    ("m.room.member", "join_authorised_via_users_server", V9, V12),
    ("m.room.create", "creator", V1, V10),
    ("m.room.join_rules", "join_rule", V1, V12),
    ("m.room.join_rules", "allow", V8, V12),
    ("m.room.power_levels", "ban", V1, V12),
    ("m.room.power_levels", "events", V1, V12),
    ("m.room.power_levels", "events_default", V1, V12),
    ("m.room.power_levels", "invite", V11, V12),
    ("m.room.power_levels", "kick", V1, V12),
    ("m.room.power_levels", "redact", V1, V12),
    ("m.room.power_levels", "state_default", V1, V12),
    ("m.room.power_levels", "users", V1, V12),
    ("m.room.power_levels", "users_default", V1, V12),
    ("m.room.aliases", "aliases", V1, V5),
    ("m.room.history_visibility", "history_visibility", V1, V12),
    ("m.room.redaction", "redacts", V11, V12),
    // Of this one, as an object, only a part: see below.
    ("m.room.member", "third_party_invite", V11, V12),
];

/// Types of which no version keeps any content.
const OTHER_TYPES: [&str; 8] = [
    "",
    "m.room.message",
    "m.room.name",
    "m.room.topic",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.third_party_invite",
    "m.room.member ",
];

/// Keys that no algorithm speaks of.
const OTHER_KEYS: [&str; 6] = [
    "",
    "body",
    "displayname",
    "notifications",
    "room_version",
    "Ban",
];

fn keys_of(object: Value<'_>) -> Vec<String> {
    object
        .members()
        .map(|member| member.key().unwrap().into_owned())
        .collect()
}

/// An object with each of these keys once.
fn object_of<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let mut members: Vec<_> = keys.map(|key| format!(r#""{key}":{{"a":[1]}}"#)).collect();
    members.sort();
    members.dedup();
    format!("{{{}}}", members.join(","))
}

/// Builds an event; one that makes its room has no room id where that is the id's form.
fn event(version: RoomVersion, kind: &str, content: &str) -> Pdu {
    let mut builder = builder(version, kind, content);
    if kind == "m.room.create" && version.rules().room_id == RoomIdForm::CreateEventHash {
        builder.room_id = None;
    }
    builder.build(version, server(), &key()).unwrap()
}

/// Builds an event with this content, redacts it, and compares the content.
#[track_caller]
fn check(version: RoomVersion, kind: &str, content: &str, expected: &str) {
    let event = event(version, kind, content);
    let redacted = event.redacted();
    let expected = CanonicalObject::parse(expected.as_bytes()).unwrap();
    assert_eq!(
        text(redacted.content()),
        text(expected.as_bytes()),
        "version {version}: {kind}"
    );
    assert_eq!(
        redact(version, redacted.json()),
        redacted.json().to_vec(),
        "a second time changes nothing"
    );
}

#[test]
fn keys_of_the_content() {
    let all_keys = CONTENT_KEYS.iter().map(|(_, key, ..)| *key);
    let content = object_of(all_keys.chain(OTHER_KEYS));
    let kinds = CONTENT_KEYS.iter().map(|(kind, ..)| *kind);
    for version in RoomVersion::ALL {
        for kind in kinds.clone().chain(OTHER_TYPES) {
            let redacted = event(version, kind, &content).redacted();
            let redacted = Value::new(redacted.content());
            if kind == "m.room.create" && version >= V11 {
                assert_eq!(text(redacted.as_bytes()), content);
                continue;
            }
            let mut expected: Vec<_> = CONTENT_KEYS
                .iter()
                .filter(|(of, _, first, last)| *of == kind && (first..=last).contains(&&version))
                .map(|(_, key, ..)| (*key).to_owned())
                .collect();
            expected.sort();
            assert_eq!(keys_of(redacted), expected, "version {version}: {kind}");
            for member in redacted.members() {
                let whole = member.raw_key != b"third_party_invite";
                let expected: &[u8] = if whole { br#"{"a":[1]}"# } else { b"{}" };
                assert_eq!(member.value.as_bytes(), expected);
            }
        }
    }
}

#[test]
fn keys_of_the_event() {
    let keys = EVENT_KEYS.iter().map(|(key, ..)| *key);
    let others = ["", "age", "extra", "redacts", "unsigned", "Type"];
    let object = object_of(keys.chain(others));
    for version in RoomVersion::ALL {
        let redacted = redact(version, object.as_bytes());
        let kept = |key: &str| {
            let found = EVENT_KEYS.iter().find(|(known, ..)| *known == key);
            found.is_some_and(|(_, first, last)| (first..=last).contains(&&version))
        };
        let expected: Vec<_> = keys_of(Value::new(object.as_bytes()))
            .into_iter()
            .filter(|key| kept(key))
            .collect();
        assert_eq!(
            keys_of(Value::new(&redacted)),
            expected,
            "version {version}"
        );
        let signed = signed_bytes(version, object.as_bytes());
        let expected: Vec<_> = expected
            .into_iter()
            .filter(|key| key != "signatures")
            .collect();
        assert_eq!(keys_of(Value::new(&signed)), expected, "version {version}");
    }
}

#[test]
fn third_party_invite() {
    let whole =
        r#"{"third_party_invite":{"display_name":"x","signed":{"mxid":"@a:b","token":"t"}}}"#;
    for version in RoomVersion::ALL {
        let check = |content: &str, from_11: &str| {
            let expected = if version >= V11 { from_11 } else { "{}" };
            check(version, "m.room.member", content, expected);
        };
        check(
            whole,
            r#"{"third_party_invite":{"signed":{"mxid":"@a:b","token":"t"}}}"#,
        );
        check(
            r#"{"third_party_invite":{"display_name":"x"}}"#,
            r#"{"third_party_invite":{}}"#,
        );
        check(
            r#"{"third_party_invite":{"signed":1}}"#,
            r#"{"third_party_invite":{"signed":1}}"#,
        );
        check(r#"{"third_party_invite":"x"}"#, "{}");
        check(r#"{"third_party_invite":["signed"]}"#, "{}");
    }
}

#[test]
fn identity_stays() {
    for version in RoomVersion::ALL {
        for (kind, state_key) in [
            ("m.room.message", None),
            ("m.room.member", Some("@u:domain")),
        ] {
            let content = r#"{"membership":"join","body":"x","displayname":"y"}"#;
            let mut event = builder(version, kind, content);
            event.state_key = state_key.map(str::to_owned);
            let event = event.build(version, server(), &key()).unwrap();
            let redacted = event.redacted();
            assert_ne!(redacted.json(), event.json());
            assert_eq!(redacted.event_id(), event.event_id());
            assert_eq!(
                hash::event_id(version, redacted.json()).as_deref(),
                Some(event.event_id())
            );
            assert_eq!(
                hash::reference_hash(version, redacted.json()),
                hash::reference_hash(version, event.json())
            );
            assert_eq!(redacted.room_id(), event.room_id());
            assert_eq!(redacted.prev_events(), event.prev_events());
            assert_eq!(redacted.auth_events(), event.auth_events());
            // It is still an event of the version.
            let again = Pdu::parse(version, redacted.json()).unwrap();
            assert_eq!(again.json(), redacted.json());
            assert_eq!(again.event_id(), event.event_id());
            assert!(!again.has_valid_content_hash());
        }
    }
}

#[test]
fn redaction_of_a_redaction() {
    for version in RoomVersion::ALL {
        let target = event_id(version, 't');
        let mut redaction = builder(version, "m.room.redaction", r#"{"reason":"x"}"#);
        redaction.redacts = Some(target.clone());
        let redaction = redaction.build(version, server(), &key()).unwrap();
        assert_eq!(redaction.redacts(), Some(&*target));
        let redacted = redaction.redacted();
        match version.rules().redacts {
            RedactsPlace::TopLevel => {
                assert_eq!(redacted.redacts(), None);
                assert_eq!(text(redacted.content()), "{}");
                assert!(!text(redacted.json()).contains("redacts"));
            }
            RedactsPlace::Content => {
                assert_eq!(redacted.redacts(), Some(&*target));
                assert_eq!(
                    text(redacted.content()),
                    format!(r#"{{"redacts":"{target}"}}"#)
                );
            }
        }
        assert_eq!(redacted.event_id(), redaction.event_id());
        let in_content = format!(r#"{{"redacts":"{target}"}}"#);
        let message = build(version, "m.room.message", &in_content);
        assert_eq!(message.redacts(), None, "only redactions redact");
    }
}
