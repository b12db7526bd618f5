//! Rule 10: changing power levels; and what power levels say.

use serde_json::{Value as Json, json};
use starling_events::{CanonicalObject, RoomVersion};
use starling_stateres::{
    AuthError::{self, *},
    PowerLevel::{Finite, Infinite},
    PowerLevels, PowerLevelsError, RoomPower,
};

use crate::support::{Room, user};

/// Alice, of level 50, changes the power levels. `users` may leave her and the creator out: they are filled in.
#[track_caller]
fn change(current: &Json, new: &Json, expected: Result<(), AuthError>) {
    for version in RoomVersion::ALL {
        let complete = |levels: &Json| {
            let mut levels = levels.clone();
            let users = levels
                .as_object_mut()
                .unwrap()
                .entry("users")
                .or_insert_with(|| json!({}));
            users
                .as_object_mut()
                .unwrap()
                .entry("@alice:h")
                .or_insert(json!(50));
            levels
        };
        let mut room = Room::new(version, "alice=join");
        room.levels(&complete(current));
        let event = room.event("alice", "m.room.power_levels", Some(""), &complete(new));
        assert_eq!(
            room.check(&event),
            expected,
            "version {version}: {current} -> {new}"
        );
    }
}

const PROPERTIES: [&str; 7] = [
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "redact",
    "kick",
    "invite",
];

#[test]
fn single_levels() {
    for name in PROPERTIES {
        let refused = Err(PowerLevelsChange(name));
        let with = |level: i64| json!({ name: level });
        let none = json!({});
        // Alice herself must stay able to send power levels.
        for (current, new, expected) in [
            (with(40), with(50), Ok(())),
            (with(50), with(40), Ok(())),
            (with(40), with(51), refused),
            (
                with(51),
                with(40),
                if name == "state_default" {
                    Err(EventLevel)
                } else {
                    refused
                },
            ),
            (none.clone(), with(50), Ok(())),
            (none.clone(), with(51), refused),
            (with(50), none.clone(), Ok(())),
            (
                with(51),
                none.clone(),
                if name == "state_default" {
                    Err(EventLevel)
                } else {
                    refused
                },
            ),
            (with(-5), with(5), Ok(())),
        ] {
            change(&current, &new, expected);
        }
        if name != "state_default" {
            change(&with(60), &with(60), Ok(()));
        }
    }
}

#[test]
fn levels_of_types_and_notifications() {
    for name in ["events", "notifications"] {
        let refused = Err(PowerLevelsChange(name));
        let with = |level: i64| json!({ name: { "a": 1, "x": level, "z": 2 } });
        let without = json!({ name: { "a": 1, "z": 2 } });
        let none = json!({});
        change(&with(50), &with(0), Ok(()));
        change(&with(0), &with(50), Ok(()));
        change(&with(0), &with(51), refused);
        change(&with(51), &with(0), refused);
        change(&with(51), &with(51), Ok(()));
        change(&with(50), &without, Ok(()));
        change(&with(51), &without, refused);
        change(&without, &with(50), Ok(()));
        change(&without, &with(51), refused);
        change(&with(50), &none, Ok(()));
        change(&with(51), &none, refused);
        change(&none, &with(50), Ok(()));
        change(&none, &with(51), refused);
    }
}

#[test]
fn levels_of_users() {
    let refused = Err(PowerLevelsChange("users"));
    let bob = |level: i64| json!({"users": {"@bob:h": level}});
    let none = json!({});
    change(&bob(0), &bob(50), Ok(()));
    change(&bob(0), &bob(51), refused);
    change(&bob(49), &bob(0), Ok(()));
    change(&bob(50), &bob(0), refused); // a peer
    change(&bob(51), &bob(0), refused);
    change(&bob(51), &bob(51), Ok(()));
    change(&none, &bob(50), Ok(()));
    change(&none, &bob(51), refused);
    change(&bob(49), &none, Ok(()));
    change(&bob(50), &none, refused);
    let alice = |level: i64| json!({"users": {"@alice:h": level}});
    change(&alice(50), &alice(0), Ok(()));
    change(&alice(50), &alice(50), Ok(()));
    change(&alice(50), &alice(51), refused);
    change(&alice(100), &alice(99), Ok(()));
}

#[test]
fn one_of_several_changes_is_enough() {
    let current = json!({"ban": 50, "events": {"a": 100}, "users": {"@bob:h": 100}});
    change(
        &current,
        &json!({"ban": 40, "events": {"a": 100}, "users": {"@bob:h": 100}}),
        Ok(()),
    );
    change(
        &current,
        &json!({"ban": 40, "events": {"a": 99}, "users": {"@bob:h": 100}}),
        Err(PowerLevelsChange("events")),
    );
    change(
        &current,
        &json!({"ban": 40, "events": {"a": 100}}),
        Err(PowerLevelsChange("users")),
    );
}

#[test]
fn malformed() {
    use PowerLevelsError::{InvalidUserId, NotAnInteger, NotAnObjectOfIntegers};
    let current = json!({});
    for name in PROPERTIES {
        for bad in [json!("50"), json!(null), json!(true), json!([]), json!({})] {
            change(
                &current,
                &json!({ name: bad }),
                Err(PowerLevels(NotAnInteger(name))),
            );
        }
    }
    for name in ["events", "notifications"] {
        for bad in [
            json!("50"),
            json!(null),
            json!(1),
            json!([]),
            json!({"a": "1"}),
            json!({"a": null}),
        ] {
            change(
                &current,
                &json!({ name: bad }),
                Err(PowerLevels(NotAnObjectOfIntegers(name))),
            );
        }
    }
    for bad in [json!({"@bob:h": "1"}), json!({"@bob:h": null})] {
        change(
            &current,
            &json!({ "users": bad }),
            Err(PowerLevels(NotAnObjectOfIntegers("users"))),
        );
    }
    for bad in ["bob", "@bob", "", "@bob:h:h"] {
        change(
            &current,
            &json!({ "users": {bad: 1} }),
            Err(PowerLevels(InvalidUserId)),
        );
    }
    for bad in [json!([]), json!(1), json!(null)] {
        let content = CanonicalObject::from_serialize(&json!({ "users": bad })).unwrap();
        let result = PowerLevels::parse(RoomVersion::V12, content.as_bytes());
        assert_eq!(result, Err(NotAnObjectOfIntegers("users")));
    }
}

/// Without power levels so far, the creator may set any.
#[test]
fn first_levels() {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "alice=join");
        let levels = json!({"ban": 1000, "users": {"@alice:h": 2000}});
        let by = |sender: &str| {
            room.check(&room.event(sender, "m.room.power_levels", Some(""), &levels))
        };
        assert_eq!(by("creator"), Ok(()));
        assert_eq!(by("alice"), Err(EventLevel));
        let bad = room.event(
            "creator",
            "m.room.power_levels",
            Some(""),
            &json!({"ban": "1"}),
        );
        assert_eq!(
            room.check(&bad),
            Err(PowerLevels(PowerLevelsError::NotAnInteger("ban")))
        );
    }
}

#[test]
fn levels_that_name_creators() {
    let create = json!({"additional_creators": ["@alice:h"]});
    for version in RoomVersion::ALL {
        for current in [false, true] {
            let mut room = Room::empty(version, &create);
            room.set(
                "creator",
                "m.room.member",
                "@creator:h",
                &json!({"membership": "join"}),
            );
            if current {
                room.levels(
                    &json!({"users": {"@dora:h": 100}, "state_default": 0, "users_default": 100}),
                );
            }
            for (name, is_creator) in [
                ("@creator:h", true),
                ("@alice:h", true),
                ("@carol:h", false),
            ] {
                let levels = json!({"users": {"@dora:h": 100, name: 100}, "state_default": 0, "users_default": 100});
                let result =
                    room.check(&room.event("creator", "m.room.power_levels", Some(""), &levels));
                let refused = is_creator && version == RoomVersion::V12;
                let expected = if refused {
                    Err(PowerLevelsNameCreator)
                } else {
                    Ok(())
                };
                assert_eq!(result, expected, "version {version}: {name}");
            }
        }
    }
}

/// A creator of version 12 may change what is above every other level.
#[test]
fn creators_change_anything() {
    let mut room = Room::new(RoomVersion::V12, "");
    let top = 9_007_199_254_740_991_i64;
    room.levels(&json!({"ban": top, "events": {"a": top}, "users": {"@bob:h": top}}));
    let event = room.event(
        "creator",
        "m.room.power_levels",
        Some(""),
        &json!({"users": {"@carol:h": top}}),
    );
    assert_eq!(room.check(&event), Ok(()));
}

fn power(version: RoomVersion, levels: Option<&Json>) -> RoomPower {
    let mut room = Room::empty(version, &json!({"additional_creators": ["@alice:h"]}));
    if let Some(levels) = levels {
        room.levels(levels);
    }
    let levels = room
        .state
        .get(&("m.room.power_levels".to_owned(), String::new()));
    RoomPower::new(&room.create, levels).unwrap()
}

#[test]
fn defaults_without_levels() {
    for (version, creator, additional) in [
        (RoomVersion::V11, Finite(100), Finite(0)),
        (RoomVersion::V12, Infinite, Infinite),
    ] {
        let power = power(version, None);
        assert_eq!(power.user_level(&user("creator")), creator);
        assert_eq!(power.user_level(&user("alice")), additional);
        assert_eq!(power.user_level(&user("bob")), Finite(0));
        assert_eq!(power.event_level("m", true), Finite(50));
        assert_eq!(power.event_level("m", false), Finite(0));
        assert_eq!(
            [power.ban_level(), power.kick_level(), power.redact_level()],
            [Finite(50); 3]
        );
        assert_eq!(power.invite_level(), Finite(0));
        assert_eq!(power.notification_level("room"), Finite(50));
        assert_eq!(power.levels(), None);
    }
}

#[test]
fn defaults_with_empty_levels() {
    for (version, creator) in [(RoomVersion::V11, Finite(0)), (RoomVersion::V12, Infinite)] {
        let power = power(version, Some(&json!({})));
        assert_eq!(power.user_level(&user("creator")), creator);
        assert_eq!(power.event_level("m", true), Finite(50));
        assert_eq!(power.event_level("m", false), Finite(0));
        assert_eq!(
            [power.ban_level(), power.kick_level(), power.redact_level()],
            [Finite(50); 3]
        );
        assert_eq!(power.invite_level(), Finite(0));
    }
}

#[test]
fn stated_levels() {
    let levels = json!({
        "ban": 1, "events": {"b": 21, "a": 20, "a\n": 22}, "events_default": 3, "invite": 4, "kick": 5,
        "notifications": {"room": 6},
        "redact": 7, "state_default": 8, "users": {"@z:h": 91, "@b:h": 90}, "users_default": 10, "other": "ignored",
    });
    for version in RoomVersion::ALL {
        let power = power(version, Some(&levels));
        assert_eq!(power.user_level(&user("z")), Finite(91));
        assert_eq!(power.user_level(&user("b")), Finite(90));
        assert_eq!(power.user_level(&user("c")), Finite(10));
        for (kind, is_state, level) in [
            ("a", true, 20),
            ("a", false, 20),
            ("b", true, 21),
            ("a\n", true, 22),
            ("c", true, 8),
            ("c", false, 3),
        ] {
            assert_eq!(power.event_level(kind, is_state), Finite(level));
        }
        assert_eq!(power.ban_level(), Finite(1));
        assert_eq!(power.invite_level(), Finite(4));
        assert_eq!(power.kick_level(), Finite(5));
        assert_eq!(power.notification_level("room"), Finite(6));
        assert_eq!(power.notification_level("other"), Finite(50));
        assert_eq!(power.redact_level(), Finite(7));
    }
}

#[test]
fn infinite_is_above_all() {
    assert!(Infinite > Finite(i64::MAX));
    assert!(Finite(-1) < Finite(0));
}
