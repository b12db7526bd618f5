//! Parsing and building events: round trips, and tables of bad input.

use serde_json::{Value as Json, json};
use starling_events::{
    BuildError, CanonicalObject, EventBuilder, EventReference, JsonError, MAX_PDU_BYTES,
    ParseError, Pdu, RoomVersion, Value,
    canonical_json::{MAX_DEPTH, MAX_INTEGER},
    hash,
    room_version::{EventIdForm, JsonForm, RedactsPlace, ReferenceForm, RoomIdForm},
    unpadded_base64,
};

use crate::support::{build, builder, event_id, key, reference, room_id, server, text};

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

/// The versions that do (or don't) have this form.
fn versions(has_form: impl Fn(RoomVersion) -> bool) -> impl Iterator<Item = RoomVersion> {
    RoomVersion::ALL
        .into_iter()
        .filter(move |version| has_form(*version))
}

fn states_event_id(version: RoomVersion) -> bool {
    version.rules().event_id == EventIdForm::Stated
}

fn is_loose(version: RoomVersion) -> bool {
    version.rules().json == JsonForm::Loose
}

/// As many references as that, as the version's events write them.
fn references(version: RoomVersion, count: usize) -> Json {
    let id = event_id(version, 'x');
    match version.rules().references {
        ReferenceForm::WithHashes => json!(vec![json!([id, {"sha256": "x"}]); count]),
        ReferenceForm::Ids => json!(vec![id; count]),
    }
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
            assert_eq!(event.prev_events(), [event_id(version, 'p')]);
            assert_eq!(
                event.auth_events(),
                [event_id(version, 'a'), event_id(version, 'b')]
            );
            assert_eq!(event.redacts(), None);
            assert_eq!(text(event.content()), r#"{"topic":"ü","z":1}"#);
            assert!(event.has_valid_content_hash());
        }
        assert_eq!(
            hash::event_id(version, built.json()).as_deref(),
            Some(built.event_id())
        );
        assert_eq!(
            text(built.json()).contains("\"event_id\""),
            states_event_id(version)
        );
    }
}

#[test]
fn event_ids_by_version() {
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.message", r#"{"body":"x"}"#);
        let hash = hash::reference_hash(version, event.json());
        let expected = match version.rules().event_id {
            // Without what came after the id, and without the id.
            EventIdForm::Stated => {
                let mut unhashed: Json = serde_json::from_slice(event.json()).unwrap();
                let fields = unhashed.as_object_mut().unwrap();
                fields.retain(|key, _| !["event_id", "hashes", "signatures"].contains(&&**key));
                let unhashed = CanonicalObject::from_serialize(&unhashed).unwrap();
                let hash = hash::content_hash(unhashed.as_bytes());
                format!("${}:domain", unpadded_base64::encode_url_safe(&hash))
            }
            EventIdForm::Hash => format!("${}", unpadded_base64::encode(&hash)),
            EventIdForm::UrlSafeHash => format!("${}", unpadded_base64::encode_url_safe(&hash)),
        };
        assert_eq!(event.event_id(), &*expected, "version {version}");
        let again = build(version, "m.room.message", r#"{"body":"x"}"#);
        assert_eq!(again.json(), event.json(), "the same always");
        let changes: [fn(&mut EventBuilder); 3] = [
            |event| event.content = CanonicalObject::default(),
            |event| event.origin_server_ts += 1,
            |event| {
                event.prev_events.pop();
            },
        ];
        for change in changes {
            let mut other = builder(version, "m.room.message", r#"{"body":"x"}"#);
            change(&mut other);
            let other = other.build(version, server(), &key()).unwrap();
            assert_ne!(other.event_id(), event.event_id());
        }
    }
}

#[test]
fn stated_event_ids() {
    let mut checked = 0;
    for version in versions(states_event_id) {
        let event = with(version, "event_id", json!("$é/x:[::1]:80")).unwrap();
        assert_eq!(event.event_id(), "$é/x:[::1]:80");
        assert!(text(event.json()).contains(r#""event_id":"$é/x:[::1]:80""#));
        let hash = hash::reference_hash(version, event.json());
        let other = with(version, "event_id", json!("$y:[::1]:80")).unwrap();
        assert_ne!(hash::reference_hash(version, other.json()), hash);
        assert!(
            !other.has_valid_content_hash(),
            "the content hash covers it"
        );

        let long = |bytes: usize| json!(format!("${}:domain", "e".repeat(bytes - 8)));
        assert!(with(version, "event_id", long(255)).is_ok());
        for (value, expected) in [
            (Json::Null, ParseError::Missing("event_id")),
            (json!(1), ParseError::Invalid("event_id")),
            (json!("$x"), ParseError::Invalid("event_id")),
            (json!("x:domain"), ParseError::Invalid("event_id")),
            (json!("$x:"), ParseError::Invalid("event_id")),
            (
                json!(format!("${}", "x".repeat(43))),
                ParseError::Invalid("event_id"),
            ),
            (long(256), ParseError::TooLarge("event_id")),
        ] {
            let bad = with(version, "event_id", value.clone()).unwrap_err();
            assert_eq!(bad, expected, "version {version}: {value}");
        }
        assert_eq!(hash::event_id(version, b"{}"), None);
        assert_eq!(hash::event_id(version, br#"{"event_id":1}"#), None);
        assert_eq!(hash::event_id(version, br#"{"event_id":"$x"}"#), None);
        checked += 1;
    }
    assert_eq!(checked, 2);
    for version in versions(|version| !states_event_id(version)) {
        let plain = build(version, "m.room.message", r#"{"body":"x"}"#);
        // The hashes cover what the event says its id is, and nobody believes it.
        for stated in [json!(5), json!(plain.event_id()), json!("$other:domain")] {
            let event = with(version, "event_id", stated.clone()).unwrap();
            assert_ne!(event.event_id(), plain.event_id(), "version {version}");
            let kept = event
                .value()
                .get("event_id")
                .map(|id| id.as_bytes().to_vec());
            assert_eq!(kept, Some(stated.to_string().into_bytes()));
            let redacted = event.redacted();
            let recomputed = Pdu::parse(version, redacted.json()).unwrap();
            assert_eq!(recomputed.event_id(), event.event_id());
        }
    }
}

#[test]
fn references_with_hashes() {
    let mut checked = 0;
    for version in versions(|version| version.rules().references == ReferenceForm::WithHashes) {
        for field in ["prev_events", "auth_events"] {
            for good in [
                json!([]),
                json!([["$x:h", {}]]),
                json!([["$x:h", {"sha256": "x"}], ["$y:h", {"md5": 5}]]),
            ] {
                let event = with(version, field, good.clone()).unwrap();
                let read = if field == "prev_events" {
                    event.prev_events()
                } else {
                    event.auth_events()
                };
                let expected: Vec<_> = good
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|pair| pair[0].as_str().unwrap())
                    .collect();
                assert_eq!(read, expected);
            }
            for bad in [
                json!(["$x:h"]),
                json!([[]]),
                json!([["$x:h"]]),
                json!([["$x:h", "sha256"]]),
                json!([["$x:h", null]]),
                json!([["$x:h", []]]),
                json!([["$x:h", {}, {}]]),
                json!([[{}, "$x:h"]]),
                json!([[["$x:h", {}], {}]]),
                json!([["$x", {}]]),
                json!([{"$x:h": {}}]),
                json!([["$x:h", {}], "$y:h"]),
            ] {
                let error = with(version, field, bad.clone()).unwrap_err();
                assert_eq!(
                    error,
                    ParseError::Invalid(field),
                    "version {version}: {bad}"
                );
            }
            let long = json!([[format!("${}:h", "x".repeat(255)), {}]]);
            let error = with(version, field, long).unwrap_err();
            assert_eq!(error, ParseError::TooLarge(field));
        }
        checked += 1;
    }
    assert_eq!(checked, 2);
}

#[test]
fn references_to_events() {
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.message", r#"{"body":"x"}"#);
        let reference = EventReference::of(&event);
        assert_eq!(reference.event_id, event.event_id());
        assert_eq!(EventReference::of(&event.redacted()), reference);
        let mut next = builder(version, "m", "{}");
        next.prev_events = vec![reference.clone()];
        next.auth_events = vec![reference.clone(), reference];
        let next = next.build(version, server(), &key()).unwrap();
        assert_eq!(next.prev_events(), [event.event_id()]);
        assert_eq!(next.auth_events(), [event.event_id(), event.event_id()]);
        let hash = unpadded_base64::encode(&hash::reference_hash(version, event.json()));
        let written = match version.rules().references {
            ReferenceForm::WithHashes => json!([event.event_id(), {"sha256": hash}]),
            ReferenceForm::Ids => json!(event.event_id()),
        };
        let json: Json = serde_json::from_slice(next.json()).unwrap();
        assert_eq!(json["prev_events"], json!([written]));
        assert_eq!(json["auth_events"], json!([written, written]));
    }
}

#[test]
fn reference_without_a_hash() {
    for version in RoomVersion::ALL {
        let bare = EventReference {
            hash: None,
            ..reference(version, 'x')
        };
        let mut event = builder(version, "m", "{}");
        event.prev_events = vec![bare.clone()];
        event.auth_events = vec![bare.clone()];
        let built = event.build(version, server(), &key()).unwrap();
        let written = match version.rules().references {
            ReferenceForm::WithHashes => json!([bare.event_id, {}]),
            ReferenceForm::Ids => json!(bare.event_id),
        };
        let json: Json = serde_json::from_slice(built.json()).unwrap();
        for name in ["prev_events", "auth_events"] {
            assert_eq!(json[name], json!([written]), "version {version}");
        }
        let received = Pdu::parse(version, built.json()).unwrap();
        assert_eq!(received.prev_events(), [bare.event_id]);
    }
}

#[test]
fn place_of_redacts() {
    for version in RoomVersion::ALL {
        let target = event_id(version, 't');
        let mut built = builder(version, "m.room.redaction", r#"{"reason":"x"}"#);
        built.redacts = Some(target.clone());
        let built = built.build(version, server(), &key()).unwrap();
        assert!(built.has_valid_content_hash());
        let received = Pdu::parse(version, built.json()).unwrap();
        assert_eq!(received.redacts(), Some(&*target));
        let json: Json = serde_json::from_slice(built.json()).unwrap();
        let (there, elsewhere) = match version.rules().redacts {
            RedactsPlace::TopLevel => (&json["redacts"], &json["content"]["redacts"]),
            RedactsPlace::Content => (&json["content"]["redacts"], &json["redacts"]),
        };
        assert_eq!((there, elsewhere), (&json!(target), &Json::Null));

        // One that names its target in the wrong place, or wrongly, is an event, but redacts nothing.
        let wrong_place = match version.rules().redacts {
            RedactsPlace::TopLevel => ("content", json!({"redacts": target})),
            RedactsPlace::Content => ("redacts", json!(target)),
        };
        for (field, value) in [
            wrong_place,
            ("redacts", json!(5)),
            ("redacts", json!("$x")),
            ("content", json!({"redacts": {}})),
            ("content", json!({"redacts": "$x"})),
        ] {
            let mut event = valid(version);
            event["type"] = json!("m.room.redaction");
            event[field] = value;
            let event = Pdu::parse(version, &serde_json::to_vec(&event).unwrap()).unwrap();
            assert_eq!(event.redacts(), None, "version {version}: {field}");
        }
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
fn limits_of_depth() {
    for version in RoomVersion::ALL {
        let limit = if is_loose(version) {
            i64::MAX
        } else {
            MAX_INTEGER
        };
        assert_eq!(version.rules().max_depth(), limit);
        for depth in [0, 1, limit] {
            assert_eq!(with(version, "depth", json!(depth)).unwrap().depth(), depth);
        }
        let invalid = ParseError::Invalid("depth");
        assert_eq!(with(version, "depth", json!(-1)).unwrap_err(), invalid);
        if is_loose(version) {
            for beyond in [json!(1_u64 << 63), json!(u64::MAX), json!(1.0), json!(1e3)] {
                assert_eq!(with(version, "depth", beyond).unwrap_err(), invalid);
            }
        }
    }
}

#[test]
fn loose_json() {
    let mut checked = 0;
    for version in versions(is_loose) {
        let event = build(version, "m.room.message", r#"{"body":"x"}"#);
        let json = text(event.json()).replacen(
            r#""body":"x""#,
            r#""b":1e5,"\u0062":[-0, 1E-9,0.10],"a":99999999999999999999"#,
            1,
        );
        let received = Pdu::parse(version, json.as_bytes()).unwrap();
        let canonical = r#"{"a":99999999999999999999,"b":[0,1e-09,0.1]}"#;
        assert_eq!(text(received.content()), canonical);
        let again = Pdu::parse(version, received.json()).unwrap();
        assert_eq!(again.json(), received.json());
        assert_eq!(again.event_id(), received.event_id());
        assert_eq!(
            hash::content_hash(received.json()),
            hash::content_hash(again.json())
        );
        let view = Value::new(received.content());
        assert_eq!(view.get("a").and_then(Value::as_integer), None);
        assert_eq!(view.get("a").unwrap().as_bytes(), b"99999999999999999999");

        for ts in [i64::MIN, -5, MAX_INTEGER + 1, i64::MAX] {
            let event = with(version, "origin_server_ts", json!(ts)).unwrap();
            assert_eq!(event.origin_server_ts(), ts);
        }
        for bad in [json!(1.5), json!(1e3), json!(u64::MAX)] {
            let error = with(version, "origin_server_ts", bad).unwrap_err();
            assert_eq!(error, ParseError::Invalid("origin_server_ts"));
        }
        let infinite = text(event.json()).replacen(r#""x""#, "1e999", 1);
        let error = Pdu::parse(version, infinite.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ParseError::Json(JsonError::FloatRange(_))),
            "{error:?}"
        );
        // A small text whose canonical form is larger than an event.
        let grown = format!("[{}0]", "1e15,".repeat(4_000));
        let grown = text(event.json()).replacen(r#""x""#, &grown, 1);
        let error = Pdu::parse(version, grown.as_bytes()).unwrap_err();
        assert_eq!(error, ParseError::TooLarge("event"));
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[test]
fn strict_json() {
    for version in versions(|version| !is_loose(version)) {
        assert!(with(version, "origin_server_ts", json!(-5)).is_ok());
        let twice = text(build(version, "m", r#"{"a":1}"#).json()).replacen(
            r#""a":1"#,
            r#""a":1,"a":1"#,
            1,
        );
        let error = Pdu::parse(version, twice.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ParseError::Json(JsonError::DuplicateKey(_))),
            "{error:?}"
        );
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
    let hash = json!(format!("!{}", "r".repeat(43)));
    for version in RoomVersion::ALL {
        let create = with(version, "type", json!("m.room.create"));
        match version.rules().room_id {
            RoomIdForm::WithDomain => {
                assert_eq!(with(version, "room_id", hash.clone()).unwrap_err(), error);
                assert!(create.is_ok());
            }
            RoomIdForm::CreateEventHash => {
                let with_domain = with(version, "room_id", json!("!r:domain"));
                assert_eq!(with_domain.unwrap_err(), error);
                // Only the create event has none, and it must have none.
                assert_eq!(create.unwrap_err(), error);
            }
        }
    }
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
        for (field, most) in [("prev_events", 20), ("auth_events", 10)] {
            assert!(with(version, field, references(version, most)).is_ok());
            assert_eq!(
                with(version, field, references(version, most + 1)).unwrap_err(),
                ParseError::TooLarge(field)
            );
        }
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
    for version in RoomVersion::ALL {
        let event = build(version, "m", &nested(MAX_DEPTH - 2));
        assert!(
            Pdu::parse(version, event.json()).is_ok(),
            "what can be built can be received"
        );
        let deeper = text(event.json())
            .replace(r#"{"a":["#, r#"{"a":[["#)
            .replace(r#"]},"depth""#, r#"]]},"depth""#);
        let error = Pdu::parse(version, deeper.as_bytes()).unwrap_err();
        assert_eq!(error, ParseError::Json(JsonError::TooDeep));
    }
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
    for version in versions(|version| version.rules().room_id == RoomIdForm::WithDomain) {
        let create = EventBuilder {
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            ..builder(version, "m.room.create", "{}")
        };
        let event = create.clone().build(version, server(), &key()).unwrap();
        assert_eq!(event.room_id(), room_id(version));
        let without_room = EventBuilder {
            room_id: None,
            ..create
        };
        let error = without_room.build(version, server(), &key()).unwrap_err();
        assert_eq!(error, BuildError::Invalid("room_id"));
    }
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
            |event| event.prev_events = vec![event.prev_events[0].clone(); 21],
            BuildError::TooLarge("prev_events"),
        ),
        (
            |event| event.auth_events = vec![event.auth_events[0].clone(); 11],
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
    for version in RoomVersion::ALL {
        for (change, expected) in &cases {
            let mut event = builder(version, "m", "{}");
            change(&mut event);
            let error = event.build(version, server(), &key()).unwrap_err();
            assert_eq!(&error, expected, "version {version}");
        }
    }
}

/// The name of a server may leave no room for a hash in front of it.
#[test]
fn builder_refuses_ids_that_get_too_long() {
    let longest = format!("{}.org", "a".repeat(206));
    for version in RoomVersion::ALL {
        for (name, too_long) in [(longest.clone(), false), (format!("b{longest}"), true)] {
            let server = ruma_common::ServerName::parse(&name).unwrap();
            let built = builder(version, "m", "{}").build(version, &server, &key());
            let error =
                (too_long && states_event_id(version)).then_some(BuildError::TooLarge("event_id"));
            assert_eq!(built.err(), error, "version {version}");
        }
    }
}

#[test]
fn depth_stops_at_the_limit() {
    for version in RoomVersion::ALL {
        let mut event = builder(version, "m", "{}");
        event.depth = i64::MAX;
        let event = event.build(version, server(), &key()).unwrap();
        assert_eq!(event.depth(), version.rules().max_depth());
    }
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
    for version in RoomVersion::ALL {
        let event = build(version, "m.room.message", r#"{"body":"x"}"#);
        for length in 0..event.json().len() {
            let cut = event.json()[..length].into();
            assert!(
                Pdu::from_stored(version, event.event_id().to_owned(), cut).is_err(),
                "version {version}: {length}"
            );
        }
    }
}
