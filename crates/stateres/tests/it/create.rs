//! Rules 1 and 2: the create event.

use serde_json::{Value as Json, json};
use starling_events::RoomVersion;
use starling_stateres::AuthError::{self, *};

use crate::support::{Room, create_event, reference, sign, user, with_creator};
use starling_events::room_version::{CreatorPlace, RoomIdForm};

#[track_caller]
fn check(version: RoomVersion, content: &Json, expected: Result<(), AuthError>) {
    let room = Room::empty(version, &json!({}));
    assert_eq!(
        room.check(&create_event(version, &with_creator(version, content))),
        expected,
        "version {version}: {content}"
    );
}

#[test]
fn room_version() {
    for version in RoomVersion::ALL {
        check(version, &json!({}), Ok(()));
        for known in RoomVersion::ALL {
            check(version, &json!({"room_version": known.as_str()}), Ok(()));
        }
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
    for version in RoomVersion::ALL {
        let if_bad = if version.rules().privileged_creators {
            Err(InvalidAdditionalCreators)
        } else {
            Ok(())
        };
        for good in [json!([]), json!(["@a:h"]), json!(["@a:h", "@b:other:80"])] {
            check(version, &creators(good), Ok(()));
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
            check(version, &creators(bad), if_bad);
        }
    }
}

/// Where the content names the creator, it must do so, with whatever value.
#[test]
fn creator_property() {
    for version in RoomVersion::ALL {
        let room = Room::empty(version, &json!({}));
        let without = match version.rules().creator {
            CreatorPlace::Content => Err(NoCreator),
            CreatorPlace::Sender => Ok(()),
        };
        let check = |content: &Json| room.check(&create_event(version, content));
        assert_eq!(check(&json!({})), without, "version {version}");
        for any in [
            json!("@alice:other"),
            json!("alice"),
            json!(1),
            json!([]),
            json!(null),
        ] {
            assert_eq!(
                check(&json!({"creator": any})),
                Ok(()),
                "version {version}: {any}"
            );
        }
    }
}

#[test]
fn previous_events() {
    for version in RoomVersion::ALL {
        let room = Room::empty(version, &json!({}));
        let content = with_creator(version, &json!({}));
        let mut create = room.builder("creator", "m.room.create", Some(""), &content);
        create.room_id = create
            .room_id
            .filter(|_| version.rules().room_id == RoomIdForm::WithDomain);
        create.prev_events = vec![reference(version, 'p')];
        assert_eq!(room.check(&sign(create, version)), Err(CreateHasPrevEvents));
    }
}

#[test]
fn domain_of_the_room_id() {
    for version in RoomVersion::ALL {
        if version.rules().room_id != RoomIdForm::WithDomain {
            continue;
        }
        let room = Room::empty(version, &json!({}));
        let content = with_creator(version, &json!({}));
        let mut create = room.builder("creator/other", "m.room.create", Some(""), &content);
        create.prev_events = Vec::new();
        assert_eq!(
            room.check(&sign(create, version)),
            Err(CreateRoomIdDomain),
            "version {version}"
        );
    }
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

/// If the content names no user, nobody is the creator; the room is as good as any otherwise.
#[test]
fn room_without_a_creator() {
    for version in RoomVersion::ALL {
        if version.rules().creator != CreatorPlace::Content {
            continue;
        }
        let mut room = Room::empty(version, &json!({"creator": "nobody"}));
        let member = |name: &str| user(name).to_string();
        for name in ["creator", "alice"] {
            room.set(
                name,
                "m.room.member",
                &member(name),
                &json!({"membership": "join"}),
            );
        }
        let send = |sender: &str, state_key: Option<&str>| {
            room.check(&room.event(sender, "m", state_key, &json!({})))
        };
        assert_eq!(send("alice", None), Ok(()));
        assert_eq!(send("creator", None), Ok(()));
        assert_eq!(send("creator", Some("")), Err(EventLevel));
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
