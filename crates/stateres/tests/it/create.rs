//! Rules 1 and 2: the create event.

use serde_json::{Value as Json, json};
use starling_events::RoomVersion;
use starling_stateres::AuthError::{self, *};

use crate::support::{Room, create_event, event_id, sign, user};

#[track_caller]
fn check(version: RoomVersion, content: &Json, expected: Result<(), AuthError>) {
    let room = Room::empty(version, &json!({}));
    assert_eq!(
        room.check(&create_event(version, content)),
        expected,
        "version {version}: {content}"
    );
}

#[test]
fn room_version() {
    for version in RoomVersion::ALL {
        check(version, &json!({}), Ok(()));
        check(version, &json!({"room_version": "11"}), Ok(()));
        check(version, &json!({"room_version": "12"}), Ok(()));
        check(
            version,
            &json!({"room_version": "org.example.unheard"}),
            Err(UnknownRoomVersion),
        );
        check(
            version,
            &json!({"room_version": 12}),
            Err(UnknownRoomVersion),
        );
        check(
            version,
            &json!({"room_version": null}),
            Err(UnknownRoomVersion),
        );
    }
}

#[test]
fn additional_creators() {
    let creators = |value: Json| json!({"additional_creators": value});
    for good in [json!([]), json!(["@a:h"]), json!(["@a:h", "@b:other:80"])] {
        check(RoomVersion::V12, &creators(good), Ok(()));
    }
    for bad in [
        json!({}),
        json!("@a:h"),
        json!(null),
        json!([1]),
        json!(["a"]),
        json!(["@a:h", "@b"]),
        json!([["@a:h"]]),
    ] {
        check(
            RoomVersion::V12,
            &creators(bad.clone()),
            Err(InvalidAdditionalCreators),
        );
        check(RoomVersion::V11, &creators(bad), Ok(()));
    }
}

#[test]
fn previous_events() {
    for version in RoomVersion::ALL {
        let room = Room::empty(version, &json!({}));
        let mut create = room.builder("creator", "m.room.create", Some(""), &json!({}));
        create.room_id = create.room_id.filter(|_| version == RoomVersion::V11);
        create.prev_events = vec![event_id('p')];
        assert_eq!(room.check(&sign(create, version)), Err(CreateHasPrevEvents));
    }
}

#[test]
fn domain_of_the_room_id() {
    let room = Room::empty(RoomVersion::V11, &json!({}));
    let mut create = room.builder("creator/other", "m.room.create", Some(""), &json!({}));
    create.prev_events = Vec::new();
    assert_eq!(
        room.check(&sign(create, RoomVersion::V11)),
        Err(CreateRoomIdDomain)
    );
}

#[test]
fn room_without_create_event() {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "alice=join");
        let event = room.event("alice", "m", None, &json!({}));
        assert_eq!(room.check(&event), Ok(()));
        room.state
            .remove(&("m.room.create".to_owned(), String::new()));
        assert_eq!(room.check(&event), Err(NoCreateEvent));
    }
}

#[test]
fn event_of_another_room() {
    let other = Room::empty(RoomVersion::V12, &json!({"other": true}));
    let room = Room::new(RoomVersion::V12, "alice=join");
    let event = other.event("alice", "m", None, &json!({}));
    assert_eq!(room.check(&event), Err(CreateOfOtherRoom));
}

#[test]
fn closed_to_other_servers() {
    for version in RoomVersion::ALL {
        for (federate, expected) in [
            (json!(false), Err(NotFederated)),
            (json!(true), Ok(())),
            (json!("false"), Ok(())),
            (Json::Null, Ok(())),
        ] {
            let mut room = Room::empty(version, &json!({"m.federate": federate}));
            for name in ["alice/other", "bob"] {
                room.set(
                    name,
                    "m.room.member",
                    user(name).as_str(),
                    &json!({"membership": "join"}),
                );
            }
            assert_eq!(
                room.check(&room.event("alice/other", "m", None, &json!({}))),
                expected,
                "{federate}"
            );
            assert_eq!(
                room.check(&room.event("bob", "m", None, &json!({}))),
                Ok(())
            );
            assert_eq!(
                room.check(&room.action("alice/other leave")),
                expected,
                "{federate}"
            );
        }
    }
}
