//! Parsing and building events: round trips, and tables of bad input.

use serde_json::{Value as Json, json};
use starling_events::{
    BuildError, CanonicalObject, EventBuilder, JsonError, MAX_PDU_BYTES, ParseError, Pdu,
    RoomVersion,
    canonical_json::{MAX_DEPTH, MAX_INTEGER},
    hash,
};

use crate::support::{build, builder, event_id, key, room_id, server, text};

fn valid(version: RoomVersion) -> Json {
    serde_json::from_slice(build(version, "m.room.message", r#"{"body":"x"}"#).json()).unwrap()
}

/// Parses a valid event with one field replaced (by `null`: removed).
fn with(version: RoomVersion, field: &str, value: Json) -> Result<Pdu, ParseError> {
    let mut event = valid(version);
    let fields = event.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(field);
    } else {
        fields.insert(field.to_owned(), value);
    }
    Pdu::parse(version, &serde_json::to_vec(&event).unwrap())
}

#[track_caller]
fn refused(field: &str, value: &Json, expected: &ParseError) {
    for version in RoomVersion::ALL {
        assert_eq!(
            &with(version, field, value.clone()).unwrap_err(),
            expected,
            "version {version}: {field} {value}"
        );
    }
}

#[test]
fn round_trip() {
    for version in RoomVersion::ALL {
        let mut built = builder(version, "m.room.topic", r#"{"z":1,"topic":"ü"}"#);
        built.state_key = Some("a\"b".to_owned());
        let built = built.build(version, server(), &key()).unwrap();
        let mut sent: Json = serde_json::from_slice(built.json()).unwrap();
        sent["unsigned"] = json!({"age": 5});
        sent["event_id"] = json!("$whatever");
        let received = Pdu::parse(version, &serde_json::to_vec_pretty(&sent).unwrap()).unwrap();
        let stored =
            Pdu::from_stored(version, built.event_id().to_owned(), built.json().clone()).unwrap();
        for event in [&built, &received, &stored] {
            assert_eq!(event.json(), built.json());
            assert_eq!(event.version(), version);
            assert_eq!(event.event_id(), built.event_id());
            assert_eq!(event.room_id(), room_id(version));
            assert_eq!(event.sender(), "@u:domain");
            assert_eq!(event.kind(), "m.room.topic");
            assert_eq!(event.state_key(), Some("a\"b"));
            assert_eq!(event.origin_server_ts(), 1_000_000);
            assert_eq!(event.depth(), 3);
            assert_eq!(event.prev_events(), [event_id('p')]);
            assert_eq!(event.auth_events(), [event_id('a'), event_id('b')]);
            assert_eq!(event.redacts(), None);
            assert_eq!(text(event.content()), r#"{"topic":"ü","z":1}"#);
            assert!(event.has_valid_content_hash());
        }
        assert_eq!(hash::event_id(version, built.json()), built.event_id());
    }
}

#[test]
fn required_fields() {
    for field in [
        "auth_events",
        "content",
        "depth",
        "hashes",
        "origin_server_ts",
        "prev_events",
        "room_id",
        "sender",
        "signatures",
        "type",
    ] {
        refused(field, &Json::Null, &ParseError::Missing(field));
        refused(field, &json!(true), &ParseError::Invalid(field));
    }
}

#[test]
fn wrong_fields() {
    for (field, value) in [
        ("content", json!([])),
        ("content", json!("x")),
        ("hashes", json!([])),
        ("signatures", json!("x")),
        ("state_key", json!(1)),
        ("sender", json!("u:domain")),
        ("sender", json!("@u")),
        ("room_id", json!("#r:domain")),
        ("depth", json!(-1)),
        ("depth", json!("1")),
        ("origin_server_ts", json!("1")),
        ("prev_events", json!({})),
        ("prev_events", json!([1])),
        ("prev_events", json!(["$x"])),
        ("auth_events", json!([["$x", {}]])),
        ("auth_events", json!(["$x:domain"])),
    ] {
        refused(field, &value, &ParseError::Invalid(field));
    }
}

#[test]
fn numbers_beyond_canonical_json() {
    for version in RoomVersion::ALL {
        assert!(with(version, "origin_server_ts", json!(-5)).is_ok());
        assert!(with(version, "depth", json!(MAX_INTEGER)).is_ok());
        for field in ["depth", "origin_server_ts", "extra"] {
            let error = with(version, field, json!(MAX_INTEGER + 1)).unwrap_err();
            assert!(
                matches!(error, ParseError::Json(JsonError::IntegerRange(_))),
                "{error:?}"
            );
            let error = with(version, field, json!(1.5)).unwrap_err();
            assert!(
                matches!(error, ParseError::Json(JsonError::NotAnInteger(_))),
                "{error:?}"
            );
        }
    }
}

#[test]
fn room_ids_by_version() {
    let error = ParseError::Invalid("room_id");
    assert_eq!(
        with(RoomVersion::V12, "room_id", json!("!r:domain")).unwrap_err(),
        error
    );
    assert_eq!(
        with(
            RoomVersion::V11,
            "room_id",
            json!(format!("!{}", "r".repeat(43)))
        )
        .unwrap_err(),
        error
    );
    // Only the create event of version 12 has none, and it must have none.
    assert_eq!(
        with(RoomVersion::V11, "room_id", Json::Null).unwrap_err(),
        ParseError::Missing("room_id")
    );
    assert_eq!(
        with(RoomVersion::V12, "type", json!("m.room.create")).unwrap_err(),
        error
    );
    assert!(with(RoomVersion::V11, "type", json!("m.room.create")).is_ok());
}

#[test]
fn field_sizes() {
    let long = |bytes: usize| "é".repeat(bytes / 2) + &"x".repeat(bytes % 2);
    for version in RoomVersion::ALL {
        for field in ["type", "state_key"] {
            assert!(with(version, field, json!(long(255))).is_ok());
        }
        let sender = |bytes: usize| json!(format!("@{}:domain", "u".repeat(bytes - 8)));
        assert!(with(version, "sender", sender(255)).is_ok());
        assert_eq!(
            with(version, "sender", sender(256)).unwrap_err(),
            ParseError::TooLarge("sender")
        );
        assert!(with(version, "prev_events", json!(vec![event_id('x'); 20])).is_ok());
        assert!(with(version, "auth_events", json!(vec![event_id('x'); 10])).is_ok());
    }
    refused("type", &json!(long(256)), &ParseError::TooLarge("type"));
    refused(
        "state_key",
        &json!(long(256)),
        &ParseError::TooLarge("state_key"),
    );
    refused(
        "room_id",
        &json!(format!("!{}:domain", "r".repeat(248))),
        &ParseError::TooLarge("room_id"),
    );
    refused(
        "prev_events",
        &json!(vec![event_id('x'); 21]),
        &ParseError::TooLarge("prev_events"),
    );
    refused(
        "auth_events",
        &json!(vec![event_id('x'); 11]),
        &ParseError::TooLarge("auth_events"),
    );
}

/// A content that makes the event this many bytes larger than with an empty body.
fn body(bytes: usize) -> String {
    format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes))
}

#[test]
fn size_of_the_event() {
    for version in RoomVersion::ALL {
        let empty = build(version, "m", &body(0)).json().len();
        let largest = build(version, "m", &body(MAX_PDU_BYTES - empty));
        assert_eq!(largest.json().len(), MAX_PDU_BYTES);
        let too_large = builder(version, "m", &body(MAX_PDU_BYTES - empty + 1)).build(
            version,
            server(),
            &key(),
        );
        assert_eq!(too_large.unwrap_err(), BuildError::TooLarge("event"));

        // What isn't stored doesn't count, nor does the way in which the event is written.
        let json =
            text(largest.json()).replacen('{', &format!("{{\"unsigned\":{},  ", body(9_000)), 1);
        assert_eq!(
            Pdu::parse(version, json.as_bytes()).unwrap().json(),
            largest.json()
        );
        let larger = text(largest.json()).replacen("xx", "xxx", 1);
        assert_eq!(
            Pdu::parse(version, larger.as_bytes()).unwrap_err(),
            ParseError::TooLarge("event")
        );
        let spaces = format!("{}{}", text(largest.json()), " ".repeat(1_000_000));
        assert_eq!(
            Pdu::parse(version, spaces.as_bytes()).unwrap_err(),
            ParseError::TooLarge("event")
        );
    }
}

#[test]
fn depth_of_nesting() {
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let event = build(RoomVersion::V11, "m", &nested(MAX_DEPTH - 2));
    assert!(
        Pdu::parse(RoomVersion::V11, event.json()).is_ok(),
        "what can be built can be received"
    );
    let deeper = text(event.json())
        .replace(r#"{"a":["#, r#"{"a":[["#)
        .replace(r#"]},"depth""#, r#"]]},"depth""#);
    let error = Pdu::parse(RoomVersion::V11, deeper.as_bytes()).unwrap_err();
    assert_eq!(error, ParseError::Json(JsonError::TooDeep));
}

#[test]
fn null_characters_are_kept() {
    for version in RoomVersion::ALL {
        let mut event = builder(version, "t\0", r#"{"a\u0000":"\u0000b"}"#);
        event.state_key = Some("s\0".to_owned());
        let event = event.build(version, server(), &key()).unwrap();
        assert_eq!(text(event.content()), r#"{"a\u0000":"\u0000b"}"#);
        assert_eq!((event.kind(), event.state_key()), ("t\0", Some("s\0")));
        assert!(text(event.json()).contains(r#""state_key":"s\u0000","type":"t\u0000""#));
        let received = Pdu::parse(version, event.json()).unwrap();
        assert_eq!(
            (received.json(), received.event_id()),
            (event.json(), event.event_id())
        );
    }
}

#[test]
fn create_event_makes_the_room_id() {
    let create = EventBuilder {
        room_id: None,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
        ..builder(
            RoomVersion::V12,
            "m.room.create",
            r#"{"room_version":"12"}"#,
        )
    };
    let event = create
        .clone()
        .build(RoomVersion::V12, server(), &key())
        .unwrap();
    assert_eq!(
        event.room_id().as_str(),
        event.event_id().as_str().replace('$', "!")
    );
    assert!(!text(event.json()).contains("room_id"));
    let received = Pdu::parse(RoomVersion::V12, event.json()).unwrap();
    assert_eq!(received.room_id(), event.room_id());
    assert_eq!(received.redacted().room_id(), event.room_id());
    let error = create
        .build(RoomVersion::V11, server(), &key())
        .unwrap_err();
    assert_eq!(error, BuildError::Invalid("room_id"));
}

#[test]
fn builder_refuses() {
    type Change = fn(&mut EventBuilder);
    let cases: [(Change, BuildError); 8] = [
        (
            |event| event.kind = "x".repeat(256),
            BuildError::TooLarge("type"),
        ),
        (
            |event| event.state_key = Some("x".repeat(256)),
            BuildError::TooLarge("state_key"),
        ),
        (
            |event| event.prev_events = vec![event_id('x'); 21],
            BuildError::TooLarge("prev_events"),
        ),
        (
            |event| event.auth_events = vec![event_id('x'); 11],
            BuildError::TooLarge("auth_events"),
        ),
        (
            |event| event.origin_server_ts = MAX_INTEGER + 1,
            BuildError::Invalid("origin_server_ts"),
        ),
        (
            |event| event.origin_server_ts = i64::MIN,
            BuildError::Invalid("origin_server_ts"),
        ),
        (|event| event.depth = -1, BuildError::Invalid("depth")),
        (|event| event.room_id = None, BuildError::Invalid("room_id")),
    ];
    for (change, expected) in cases {
        let mut event = builder(RoomVersion::V11, "m", "{}");
        change(&mut event);
        assert_eq!(
            event.build(RoomVersion::V11, server(), &key()).unwrap_err(),
            expected
        );
    }
}

#[test]
fn depth_stops_at_the_limit() {
    let mut event = builder(RoomVersion::V11, "m", "{}");
    event.depth = i64::MAX;
    assert_eq!(
        event
            .build(RoomVersion::V11, server(), &key())
            .unwrap()
            .depth(),
        MAX_INTEGER
    );
}

#[test]
fn content_from_clients() {
    for (content, expected) in [
        (r#"{"a":1.5}"#, JsonError::NotAnInteger(5)),
        (r#"{"a":9007199254740992}"#, JsonError::IntegerRange(5)),
        (r#"{"a":NaN}"#, JsonError::Syntax(5)),
        ("[]", JsonError::NotAnObject),
    ] {
        assert_eq!(
            CanonicalObject::parse(content.as_bytes()).unwrap_err(),
            expected
        );
    }
    let content = CanonicalObject::from_serialize(&json!({"b": 1, "a": [null]})).unwrap();
    assert_eq!(text(content.as_bytes()), r#"{"a":[null],"b":1}"#);
}

#[test]
fn stored_bytes_that_are_damaged() {
    let event = build(RoomVersion::V11, "m.room.message", r#"{"body":"x"}"#);
    for length in 0..event.json().len() {
        let cut = event.json()[..length].into();
        assert!(
            Pdu::from_stored(RoomVersion::V11, event.event_id().to_owned(), cut).is_err(),
            "{length}"
        );
    }
}
