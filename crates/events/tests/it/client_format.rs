//! The formats for clients.

use starling_events::{
    Pdu, RoomVersion,
    client_format::{ClientFormat, write, write_stripped},
    room_version::RedactsPlace,
};

use crate::support::{build, builder, event_id, key, room_id, server, text};

#[test]
fn message() {
    let event = build(
        RoomVersion::V11,
        "m.room.message",
        r#"{"body":"a\u0000\"b"}"#,
    );
    let mut out = b"[".to_vec();
    write(
        &mut out,
        &event,
        &ClientFormat {
            room_id: true,
            unsigned: Some(br#"{"age":1}"#),
        },
    );
    let expected = format!(
        concat!(
            r#"[{{"content":{{"body":"a\u0000\"b"}},"event_id":"{}","origin_server_ts":1000000,"room_id":"!r:domain","#,
            r#""sender":"@u:domain","type":"m.room.message","unsigned":{{"age":1}}}}"#
        ),
        event.event_id()
    );
    assert_eq!(text(&out), expected);
}

#[test]
fn state_without_room_id() {
    let mut state = builder(RoomVersion::V12, "t", "{}");
    state.state_key = Some("k\n".to_owned());
    let state = state.build(RoomVersion::V12, server(), &key()).unwrap();
    let mut out = Vec::new();
    write(&mut out, &state, &ClientFormat::default());
    let expected = format!(
        concat!(
            r#"{{"content":{{}},"event_id":"{}","origin_server_ts":1000000,"#,
            r#""sender":"@u:domain","state_key":"k\n","type":"t"}}"#
        ),
        state.event_id()
    );
    assert_eq!(text(&out), expected);
    out.clear();
    write_stripped(&mut out, &state);
    assert_eq!(
        text(&out),
        r#"{"content":{},"sender":"@u:domain","state_key":"k\n","type":"t"}"#
    );
}

/// A redaction of this content that was built with a target, or with none, as clients see it.
fn redaction(version: RoomVersion, content: &str, target: bool) -> serde_json::Value {
    let mut redaction = builder(version, "m.room.redaction", content);
    redaction.redacts = target.then(|| event_id(version, 't'));
    let redaction = redaction.build(version, server(), &key()).unwrap();
    let mut out = Vec::new();
    write(&mut out, &redaction, &ClientFormat::default());
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn redaction_names_its_target_twice() {
    for version in RoomVersion::ALL {
        let target = event_id(version, 't');
        for content in ["{}", r#"{"a":"x","reason":"\"","z":{}}"#] {
            let json = redaction(version, content, true);
            let mut expected: serde_json::Value = serde_json::from_str(content).unwrap();
            expected["redacts"] = target.as_str().into();
            assert_eq!(json["content"], expected, "version {version}");
            assert_eq!(json["redacts"], target.as_str());
        }
        let json = redaction(version, r#"{"reason":"x"}"#, false);
        assert_eq!(json["content"], serde_json::json!({"reason": "x"}));
        assert_eq!(json.get("redacts"), None);
    }
}

#[test]
fn what_the_sender_put_in_the_place_of_the_target_stays() {
    for version in RoomVersion::ALL {
        let json = redaction(version, r#"{"redacts":5}"#, true);
        let (target, other) = (event_id(version, 't'), serde_json::Value::from(5));
        let expected = match version.rules().redacts {
            RedactsPlace::TopLevel => other,
            RedactsPlace::Content => target.as_str().into(),
        };
        assert_eq!(json["content"]["redacts"], expected, "version {version}");
        assert_eq!(json["redacts"], target.as_str());
    }
}

#[test]
fn only_redactions_redact() {
    for version in RoomVersion::ALL {
        let mut message = builder(version, "m.room.message", r#"{"body":"x"}"#);
        if version.rules().redacts == RedactsPlace::TopLevel {
            message.redacts = Some(event_id(version, 't'));
        }
        let message = message.build(version, server(), &key()).unwrap();
        let mut out = Vec::new();
        write(&mut out, &message, &ClientFormat::default());
        assert!(!text(&out).contains("redacts"), "version {version}");
    }
}

#[test]
fn numbers_of_old_rooms_stay_as_they_are() {
    let built = build(RoomVersion::V1, "m.room.message", r#"{"a":1}"#);
    let loose = text(built.json()).replace(r#""a":1"#, r#""a":[1e16,99999999999999999999]"#);
    let event = Pdu::parse(RoomVersion::V1, loose.as_bytes()).unwrap();
    let mut out = Vec::new();
    write(&mut out, &event, &ClientFormat::default());
    assert!(text(&out).starts_with(r#"{"content":{"a":[1e+16,99999999999999999999]},"#));
    assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
}

#[test]
fn create_event_of_version_12_has_its_room_id() {
    let mut create = builder(
        RoomVersion::V12,
        "m.room.create",
        r#"{"room_version":"12"}"#,
    );
    create.room_id = None;
    let create = create.build(RoomVersion::V12, server(), &key()).unwrap();
    assert_ne!(create.room_id(), room_id(RoomVersion::V12));
    let mut out = Vec::new();
    write(
        &mut out,
        &create,
        &ClientFormat {
            room_id: true,
            unsigned: None,
        },
    );
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        json["room_id"],
        create.event_id().as_str().replace('$', "!")
    );
}
