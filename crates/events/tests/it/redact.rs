//! Redaction, type by type.

use starling_events::{CanonicalObject, RoomVersion, Value, redact::redact};

use crate::support::{build, builder, event_id, key, server, text};

/// Builds an event with this content, redacts it, and compares the content.
#[track_caller]
fn check(kind: &str, content: &str, expected: &str) {
    for version in RoomVersion::ALL {
        let mut builder = builder(version, kind, content);
        if kind == "m.room.create" && version == RoomVersion::V12 {
            builder.room_id = None;
        }
        let event = builder.build(version, server(), &key()).unwrap();
        let redacted = event.redacted();
        let expected = CanonicalObject::parse(expected.as_bytes()).unwrap();
        assert_eq!(
            text(redacted.content()),
            text(expected.as_bytes()),
            "version {version}"
        );
        assert_eq!(redacted.event_id(), event.event_id());
        assert_eq!(
            redact(version, redacted.json()),
            redacted.json().to_vec(),
            "a second time changes nothing"
        );
    }
}

#[test]
fn content_by_type() {
    check("m.room.message", r#"{"body":"x","msgtype":"m.text"}"#, "{}");
    check("m.room.name", r#"{"name":"x"}"#, "{}");
    check("m.room.aliases", r##"{"aliases":["#a:b"]}"##, "{}");
    check(
        "m.room.create",
        r#"{"room_version":"12","creator":"@a:b","x":{"y":1}}"#,
        r#"{"creator":"@a:b","room_version":"12","x":{"y":1}}"#,
    );
    check(
        "m.room.join_rules",
        r#"{"join_rule":"restricted","allow":[1],"x":1}"#,
        r#"{"join_rule":"restricted","allow":[1]}"#,
    );
    check(
        "m.room.history_visibility",
        r#"{"history_visibility":"shared","x":1}"#,
        r#"{"history_visibility":"shared"}"#,
    );
    check(
        "m.room.redaction",
        r#"{"redacts":"$x","reason":"y"}"#,
        r#"{"redacts":"$x"}"#,
    );
    check(
        "m.room.power_levels",
        r#"{"ban":1,"events":{"a":1},"events_default":2,"invite":3,"kick":4,"redact":5,"state_default":6,
            "users":{"@a:b":7},"users_default":8,"notifications":{"room":9},"x":1}"#,
        r#"{"ban":1,"events":{"a":1},"events_default":2,"invite":3,"kick":4,"redact":5,"state_default":6,
            "users":{"@a:b":7},"users_default":8}"#,
    );
}

#[test]
fn member_content() {
    check(
        "m.room.member",
        r#"{"membership":"join","displayname":"x","avatar_url":"y","reason":"z",
            "join_authorised_via_users_server":"@a:b"}"#,
        r#"{"membership":"join","join_authorised_via_users_server":"@a:b"}"#,
    );
    check(
        "m.room.member",
        r#"{"membership":"invite","third_party_invite":{"display_name":"x","signed":{"mxid":"@a:b","token":"t"}}}"#,
        r#"{"membership":"invite","third_party_invite":{"signed":{"mxid":"@a:b","token":"t"}}}"#,
    );
    check(
        "m.room.member",
        r#"{"third_party_invite":{"display_name":"x"}}"#,
        r#"{"third_party_invite":{}}"#,
    );
    check("m.room.member", r#"{"third_party_invite":"x"}"#, "{}");
}

#[test]
fn keys_of_the_event() {
    let event = br#"{"auth_events":[],"content":{"a":1},"depth":1,"event_id":"$e","extra":1,"hashes":{"sha256":"x"},
        "membership":"join","origin":"o","origin_server_ts":1,"prev_events":[],"prev_state":[],"redacts":"$r",
        "room_id":"!r:h",
        "sender":"@s:h","signatures":{"h":{"k":"v"}},"state_key":"","type":"t","unsigned":{}}"#;
    let event = CanonicalObject::parse(event).unwrap();
    let redacted = redact(RoomVersion::V11, event.as_bytes());
    let keys: Vec<_> = Value::new(&redacted)
        .members()
        .map(|member| member.key().unwrap().into_owned())
        .collect();
    let expected = [
        "auth_events",
        "content",
        "depth",
        "event_id",
        "hashes",
        "origin_server_ts",
        "prev_events",
        "room_id",
        "sender",
        "signatures",
        "state_key",
        "type",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn redaction_of_a_redaction_keeps_its_target() {
    let mut redaction = builder(RoomVersion::V11, "m.room.redaction", r#"{"reason":"x"}"#);
    redaction.redacts = Some(event_id('t'));
    let redaction = redaction.build(RoomVersion::V11, server(), &key()).unwrap();
    assert_eq!(redaction.redacts(), Some(&*event_id('t')));
    assert_eq!(redaction.redacted().redacts(), Some(&*event_id('t')));
    let message = build(
        RoomVersion::V11,
        "m.room.message",
        &format!(r#"{{"redacts":"{}"}}"#, event_id('t')),
    );
    assert_eq!(message.redacts(), None, "only redactions redact");
}
