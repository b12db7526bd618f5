//! The formats for clients.

use starling_events::{
    RoomVersion,
    client_format::{ClientFormat, write, write_stripped},
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

#[test]
fn redaction_names_its_target_twice() {
    let mut redaction = builder(RoomVersion::V11, "m.room.redaction", "{}");
    redaction.redacts = Some(event_id('t'));
    let redaction = redaction.build(RoomVersion::V11, server(), &key()).unwrap();
    let mut out = Vec::new();
    write(&mut out, &redaction, &ClientFormat::default());
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["redacts"], event_id('t').as_str());
    assert_eq!(json["content"]["redacts"], event_id('t').as_str());
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
