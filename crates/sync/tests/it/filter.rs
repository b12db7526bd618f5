//! Filters: which are accepted, and what they let through.

use std::sync::Arc;

use ruma_common::OwnedEventId;
use serde_json::json;
use starling_events::{Pdu, RoomVersion};
use starling_sync::RoomEventFilter;
use starling_sync::filter::{
    DEFAULT_LIMIT, EventFields, EventFormat, Filter, FilterError, MAX_EVENT_FIELDS,
    MAX_FILTER_BYTES, MAX_LIMIT, MAX_LISTED,
};

/// An event of this type and sender, with or without a `url`.
fn event(kind: &str, sender: &str, has_url: bool) -> Pdu {
    let content = if has_url {
        json!({ "url": "mxc://localhost/x" })
    } else {
        json!({ "body": "x" })
    };
    let event = json!({
        "auth_events": [], "content": content, "depth": 1, "hashes": { "sha256": "" }, "origin_server_ts": 1,
        "prev_events": [], "room_id": "!room:localhost", "sender": sender, "signatures": {}, "type": kind,
    });
    let bytes = Arc::from(serde_json::to_vec(&event).unwrap());
    Pdu::from_stored(
        RoomVersion::V11,
        OwnedEventId::try_from("$event").unwrap(),
        bytes,
    )
    .unwrap()
}

const MESSAGE: &str = "m.room.message";
const MEMBER: &str = "m.room.member";
const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

/// Whether the filter lets through these events, each in turn.
fn lets_through<const N: usize>(filter: &str, events: [Pdu; N]) -> [bool; N] {
    let filter = RoomEventFilter::parse(filter).unwrap();
    events.map(|event| filter.matches(&event))
}

#[test]
fn types_have_wildcards() {
    // Of a message and of a member event.
    let cases = [
        ("{}", [true, true]),
        (r#"{"types":null}"#, [true, true]),
        (r#"{"unknown":1}"#, [true, true]),
        (r#"{"types":["m.room.message"]}"#, [true, false]),
        (
            r#"{"types":["m.room.member","m.room.message"]}"#,
            [true, true],
        ),
        (r#"{"types":[]}"#, [false, false]),
        (r#"{"types":["m.room.*"]}"#, [true, true]),
        (r#"{"types":["m.*.message"]}"#, [true, false]),
        (r#"{"types":["*message*"]}"#, [true, false]),
        (r#"{"types":["*"]}"#, [true, true]),
        (r#"{"types":["*e*b*r*"]}"#, [false, true]),
        (r#"{"types":["x","m.**.**mem**r"]}"#, [false, true]),
        (r#"{"types":["m.room.me*essage"]}"#, [false, false]),
        (r#"{"types":["m.room.message*e"]}"#, [false, false]),
        (r#"{"types":["m.room"]}"#, [false, false]),
        (r#"{"types":["M.ROOM.*"]}"#, [false, false]),
        (r#"{"not_types":["m.room.*"]}"#, [false, false]),
        (r#"{"types":["*"],"not_types":["*member"]}"#, [true, false]),
        (
            r#"{"types":["m.room.member"],"not_types":["m.room.member"]}"#,
            [false, false],
        ),
    ];
    for (filter, expected) in cases {
        let events = [event(MESSAGE, ALICE, false), event(MEMBER, ALICE, false)];
        assert_eq!(lets_through(filter, events), expected, "{filter}");
    }
}

#[test]
fn senders_are_names() {
    let cases = [
        (r#"{"senders":null}"#, [true, true]),
        (r#"{"senders":["@alice:localhost"]}"#, [true, false]),
        (r#"{"senders":[]}"#, [false, false]),
        (r#"{"senders":["@*:localhost"]}"#, [false, false]),
        (r#"{"not_senders":["@bob:localhost"]}"#, [true, false]),
        (
            r#"{"senders":["@bob:localhost"],"not_senders":["@bob:localhost"]}"#,
            [false, false],
        ),
    ];
    for (filter, expected) in cases {
        let events = [event(MESSAGE, ALICE, false), event(MESSAGE, BOB, false)];
        assert_eq!(lets_through(filter, events), expected, "{filter}");
    }
}

#[test]
fn contents_have_a_url_or_not() {
    for (filter, expected) in [
        ("{}", [true, true]),
        (r#"{"contains_url":true}"#, [true, false]),
        (r#"{"contains_url":false}"#, [false, true]),
    ] {
        let events = [event(MESSAGE, ALICE, true), event(MESSAGE, ALICE, false)];
        assert_eq!(lets_through(filter, events), expected, "{filter}");
    }
}

#[test]
fn a_room_that_is_left_out_stays_out() {
    let filter = r#"{"room":{"rooms":["!a:x","!b:x"],"not_rooms":["!b:x"],"timeline":{"not_rooms":["!a:x"]}}}"#;
    let room = Filter::parse(filter).unwrap().room;
    let allowed = ["!a:x", "!b:x", "!c:x"].map(|name| room.rooms.allows(name));
    assert_eq!(allowed, [true, false, false]);
    assert!(
        !room.timeline.rooms.allows("!a:x")
            && room.timeline.rooms.allows("!c:x")
            && room.state.rooms.allows("!a:x")
    );
}

#[test]
fn limits_have_bounds() {
    let limit = |filter: &str| RoomEventFilter::parse(filter).unwrap().events.limit();
    assert_eq!(limit("{}"), DEFAULT_LIMIT);
    assert_eq!(limit(r#"{"limit":7}"#), 7);
    assert_eq!(limit(r#"{"limit":0}"#), 0);
    assert_eq!(limit(r#"{"limit":18446744073709551615}"#), MAX_LIMIT);
}

#[test]
fn every_field_is_read() {
    let filter = Filter::parse(
        r#"{"event_fields":["type"],"event_format":"federation","presence":{"types":["a"]},"account_data":{"types":["b"]},
            "room":{"include_leave":true,"ephemeral":{"types":["c"]},"account_data":{"types":["d"]},
                "state":{"lazy_load_members":true,"include_redundant_members":true},
                "timeline":{"unread_thread_notifications":true,"limit":3}}}"#,
    )
    .unwrap();
    assert_eq!(
        filter.event_fields,
        Some(EventFields::parse(&["type".to_owned()]))
    );
    assert_eq!(filter.event_format, EventFormat::Federation);
    assert!(filter.presence.allows_type("a") && !filter.presence.allows_type("b"));
    assert!(filter.account_data.allows_type("b") && !filter.account_data.allows_type("a"));
    assert!(
        filter.room.ephemeral.events.allows_type("c")
            && !filter.room.ephemeral.events.allows_type("d")
    );
    assert!(
        filter.room.account_data.events.allows_type("d")
            && !filter.room.account_data.events.allows_type("c")
    );
    assert!(filter.room.include_leave);
    assert!(filter.room.state.lazy_load_members && filter.room.state.include_redundant_members);
    assert!(filter.room.timeline.unread_thread_notifications);
    assert_eq!(filter.room.timeline.events.limit(), 3);
    let empty = Filter::parse("{}").unwrap();
    assert_eq!(empty.room, Filter::default().room);
    assert_ne!(filter.fingerprint, empty.fingerprint);
}

#[test]
fn an_error_names_the_field() {
    let cases = [
        (r#"{"room":[]}"#, "room"),
        (
            r#"{"room":{"timeline":{"limit":"10"}}}"#,
            "room.timeline.limit",
        ),
        (
            r#"{"room":{"timeline":{"limit":-1}}}"#,
            "room.timeline.limit",
        ),
        (
            r#"{"room":{"timeline":{"limit":1.5}}}"#,
            "room.timeline.limit",
        ),
        (
            r#"{"room":{"state":{"types":"m.room.*"}}}"#,
            "room.state.types",
        ),
        (r#"{"room":{"state":{"types":[1]}}}"#, "room.state.types"),
        (
            r#"{"room":{"state":{"lazy_load_members":"true"}}}"#,
            "room.state.lazy_load_members",
        ),
        (r#"{"room":{"rooms":{}}}"#, "room.rooms"),
        (r#"{"room":{"include_leave":1}}"#, "room.include_leave"),
        (
            r#"{"account_data":{"not_senders":{}}}"#,
            "account_data.not_senders",
        ),
        (r#"{"event_fields":"type"}"#, "event_fields"),
        (r#"{"event_format":"xml"}"#, "event_format"),
        (r#"{"event_format":1}"#, "event_format"),
    ];
    for (filter, expected) in cases {
        match Filter::parse(filter) {
            Err(FilterError::Field { field, .. }) => assert_eq!(field, expected, "{filter}"),
            other => panic!("{filter}: {other:?}"),
        }
    }
    for text in ["", "[]", "1", "{", "null"] {
        assert_eq!(
            Filter::parse(text),
            Err(FilterError::NotAnObject),
            "{text:?}"
        );
    }
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_FILTER_BYTES));
    assert_eq!(Filter::parse(&large), Err(FilterError::TooLarge));
}

#[test]
fn lists_have_bounds() {
    let list = |length: usize| serde_json::to_string(&vec!["x"; length]).unwrap();
    let cases = [
        ("event_fields", MAX_EVENT_FIELDS),
        ("room.not_rooms", MAX_LISTED),
        ("room.timeline.types", MAX_LISTED),
        ("account_data.senders", MAX_LISTED),
    ];
    for (path, most) in cases {
        let filter = |length: usize| {
            let leaf = list(length);
            let names = path.split('.').rev();
            names.fold(leaf, |inner, name| format!(r#"{{"{name}":{inner}}}"#))
        };
        assert!(Filter::parse(&filter(most)).is_ok(), "{path}");
        match Filter::parse(&filter(most + 1)) {
            Err(FilterError::Field { field, expected }) => {
                assert_eq!(field, path);
                assert!(expected.contains(&most.to_string()), "{expected}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}
