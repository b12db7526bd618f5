//! Rule 10: changing power levels; and what power levels say.

use serde_json::{Value as Json, json};
use starling_events::{
    CanonicalObject, Pdu, RoomVersion,
    room_version::{CreatorPlace, LevelForm},
};
use starling_stateres::{
    AuthError::{self, *},
    PowerLevel::{Finite, Infinite},
    PowerLevels,
    PowerLevelsError::{InvalidUserId, NotAnInteger, NotAnObjectOfIntegers},
    RoomPower,
};

use crate::support::{Room, user};

/// Alice, of level 50, changes the power levels. `users` may leave her and the creator out: they are filled in.
#[track_caller]
fn change(current: &Json, new: &Json, expected: Result<(), AuthError>) {
    change_by(current, new, |_| expected);
}

/// The same with what is expected by version.
#[track_caller]
fn change_by(current: &Json, new: &Json, expected: impl Fn(RoomVersion) -> Result<(), AuthError>) {
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
            expected(version),
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

/// A level that isn't stated is the default: whoever is below it can't lower it by stating another, or raise it to it by
/// saying nothing.
#[test]
fn single_levels_by_default() {
    for version in RoomVersion::ALL {
        for (name, default) in [
            ("users_default", 0),
            ("events_default", 0),
            ("state_default", 50),
            ("ban", 50),
            ("redact", 50),
            ("kick", 50),
            ("invite", 0),
        ] {
            let below = default - 1;
            // The type has a level of its own, so that the rule is reached.
            let levels = |stated: Option<i64>| {
                let mut levels = json!({
                    "events": {"m.room.power_levels": below}, "users": {"@alice:h": below},
                });
                if let Some(level) = stated {
                    levels[name] = json!(level);
                }
                levels
            };
            for (current, new, is_allowed) in [
                (None, Some(below), false),
                (None, Some(default), false),
                (Some(below), None, false),
                (Some(default), None, false),
                (None, None, true),
                (Some(below), Some(below - 1), true),
            ] {
                let mut room = Room::new(version, "alice=join");
                room.levels(&levels(current));
                let new = levels(new);
                let event = room.event("alice", "m.room.power_levels", Some(""), &new);
                let expected = if is_allowed {
                    Ok(())
                } else {
                    Err(PowerLevelsChange(name))
                };
                assert_eq!(room.check(&event), expected, "{name}: {current:?} -> {new}");
            }
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
        let change = |current: &Json, new: &Json, expected: Result<(), AuthError>| {
            change_by(current, new, |version| {
                let is_looked_at = name == "events" || version.rules().notification_levels;
                if is_looked_at { expected } else { Ok(()) }
            });
        };
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

/// What isn't a level is refused in every property: by the text from version 10 on; before, because the rules compare
/// them and can't. (The text of versions 1 to 9 demands a form of `users` only.)
#[test]
fn malformed() {
    let current = json!({});
    for name in PROPERTIES {
        for bad in [
            json!("all"),
            json!(null),
            json!(true),
            json!([50]),
            json!({}),
        ] {
            let refused = Err(PowerLevels(NotAnInteger(name)));
            change(&current, &json!({ name: bad }), refused);
        }
    }
    for name in ["events", "notifications"] {
        for bad in [
            json!("50"),
            json!(null),
            json!(1),
            json!([]),
            json!({"a": "all"}),
            json!({"a": null}),
        ] {
            // Where the rules don't look at notifications, they needn't be any.
            change_by(&current, &json!({ name: bad }), |version| {
                if name == "events" || version.rules().notification_levels {
                    Err(PowerLevels(NotAnObjectOfIntegers(name)))
                } else {
                    Ok(())
                }
            });
        }
    }
    for bad in [json!({"@bob:h": "all"}), json!({"@bob:h": null})] {
        let refused = Err(PowerLevels(NotAnObjectOfIntegers("users")));
        change(&current, &json!({ "users": bad }), refused);
    }
    for bad in ["bob", "@bob", "", "@bob:h:h"] {
        let refused = Err(PowerLevels(InvalidUserId));
        change(&current, &json!({ "users": {bad: 1} }), refused);
    }
    for bad in [json!([]), json!(1), json!(null)] {
        let content = CanonicalObject::from_serialize(&json!({ "users": bad })).unwrap();
        for version in RoomVersion::ALL {
            let result = PowerLevels::parse(version, content.as_bytes());
            assert_eq!(result, Err(NotAnObjectOfIntegers("users")));
        }
    }
}

#[test]
fn notifications_that_nobody_looks_at() {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "");
        let content = r#"{"notifications":{"room":"loud"}}"#;
        let event = room.received("creator", "m.room.power_levels", Some(""), content);
        let power = RoomPower::new(&room.create, Some(&event));
        if version.rules().notification_levels {
            let error = NotAnObjectOfIntegers("notifications");
            assert_eq!(power, Err(error), "version {version}");
        } else {
            assert_eq!(power.unwrap().notification_level("room"), Finite(50));
        }
    }
}

/// What a version makes of a level that is written so, everywhere where there are levels.
fn level_as_read(version: RoomVersion, written: &str) -> Option<i64> {
    let content = format!(
        r#"{{"ban":{written},"events":{{"m":{written}}},"users":{{"@bob:h":{written}}},"users_default":{written}}}"#
    );
    let room = Room::new(version, "");
    let event = room.event(
        "creator",
        "m.room.power_levels",
        Some(""),
        &json!({"placeholder": 0}),
    );
    let json = String::from_utf8(event.json().to_vec()).unwrap();
    let json = json.replace(r#"{"placeholder":0}"#, &content);
    // As if it were stored: the form of numbers in events from other servers is checked before.
    let event_id = event.event_id().to_owned();
    let event = Pdu::from_stored(version, event_id, json.into_bytes().into()).unwrap();
    let power = RoomPower::new(&room.create, Some(&event)).ok()?;
    let levels = [
        power.ban_level(),
        power.event_level("m", true),
        power.user_level(&user("bob")),
    ];
    assert_eq!(levels, [power.user_level(&user("carol")); 3], "{written}");
    match levels {
        [Finite(level), ..] => Some(level),
        _ => panic!("{written}"),
    }
}

#[track_caller]
fn reads(form: LevelForm, written: &str, expected: Option<i64>) {
    for version in RoomVersion::ALL {
        if version.rules().levels == form {
            let level = level_as_read(version, written);
            assert_eq!(level, expected, "version {version}: {written}");
        }
    }
}

const FORMS: [LevelForm; 3] = [
    LevelForm::AnyNumber,
    LevelForm::IntegerOrString,
    LevelForm::Integer,
];

#[test]
fn levels_as_integers() {
    for form in FORMS {
        for (written, level) in [
            ("0", 0),
            ("50", 50),
            ("-7", -7),
            ("9007199254740991", 9_007_199_254_740_991),
        ] {
            reads(form, written, Some(level));
        }
        for bad in ["true", "null", "[]", "{}", "[50]", r#"{"a":50}"#] {
            reads(form, bad, None);
        }
    }
}

#[test]
fn levels_in_strings() {
    for (written, level) in [
        (r#""100""#, 100),
        (r#""000100""#, 100),
        (r#""+100""#, 100),
        (r#""-100""#, -100),
        (r#"" 100 ""#, 100),
        (r#"" 00100 ""#, 100),
        (r#"" +100 ""#, 100),
        (r#"" -100 ""#, -100),
        (r#""   -0007""#, -7),
        (r#""\t5\n""#, 5),
        ("\"\u{a0}5\u{3000}\"", 5),
        (r#""-0""#, 0),
        (r#""9007199254740992""#, 9_007_199_254_740_992),
        (r#""9223372036854775808""#, i64::MAX),
        (r#""-9223372036854775809""#, i64::MIN),
    ] {
        reads(LevelForm::AnyNumber, written, Some(level));
        reads(LevelForm::IntegerOrString, written, Some(level));
        reads(LevelForm::Integer, written, None);
    }
    for bad in [
        "",
        " ",
        "+",
        "-",
        "--1",
        "++1",
        "+-1",
        "- 1",
        "1 0",
        "1_0",
        "1,0",
        "5.0",
        "1e2",
        "0x10",
        "five",
        "inf",
        "NaN",
        "٣",
        "1\u{0}",
        "99999999999999999999x",
    ] {
        for form in FORMS {
            reads(form, &json!(bad).to_string(), None);
        }
    }
    let long = format!("\"{}7\"", "0".repeat(5000));
    reads(LevelForm::IntegerOrString, &long, Some(7));
    let longer = format!("\"{}\"", "7".repeat(5000));
    reads(LevelForm::IntegerOrString, &longer, Some(i64::MAX));
}

#[test]
fn levels_with_fractions() {
    for (written, level) in [
        ("50.57", 50),
        ("51146.98", 51_146),
        ("5.114698E4", 51_146),
        ("-0.5", 0),
        ("-0.0", 0),
        ("-1.99", -1),
        ("100.0", 100),
        ("1e-7", 0),
        ("1e+16", 10_000_000_000_000_000),
        ("1e+30", i64::MAX),
        ("-1e+30", i64::MIN),
        ("1.7976931348623157e+308", i64::MAX),
        ("9223372036854775807", i64::MAX),
        ("9223372036854775808", i64::MAX),
        ("123456789012345678901234567890", i64::MAX),
        ("-123456789012345678901234567890", i64::MIN),
    ] {
        reads(LevelForm::AnyNumber, written, Some(level));
        if written.parse::<i64>().is_err() {
            reads(LevelForm::IntegerOrString, written, None);
            reads(LevelForm::Integer, written, None);
        }
    }
    let beyond_doubles = "7".repeat(400);
    for bad in [
        "1e309",
        "-1e309",
        &beyond_doubles,
        "Infinity",
        "-Infinity",
        "NaN",
        "inf",
        "nan",
        "-inf",
    ] {
        for form in FORMS {
            reads(form, bad, None);
        }
    }
}

/// The same as another server would send it.
#[test]
fn levels_of_received_events() {
    for version in RoomVersion::ALL {
        if version.rules().levels != LevelForm::AnyNumber {
            continue;
        }
        let mut room = Room::new(version, "alice=join bob=join");
        for (written, expected) in [
            (
                r#"{"users":{"@alice:h":50.57,"@bob:h":49.99}}"#,
                [Ok(()), Err(EventLevel)],
            ),
            (
                r#"{"users":{"@alice:h":0.5e2,"@bob:h":"+49"}}"#,
                [Ok(()), Err(EventLevel)],
            ),
            (
                r#"{"users":{"@alice:h":1e20,"@bob:h":-1e20}}"#,
                [Ok(()), Err(EventLevel)],
            ),
            (
                r#"{"users":{"@alice:h":"050","@bob:h":50.0}}"#,
                [Ok(()), Ok(())],
            ),
        ] {
            let levels = room.received("creator", "m.room.power_levels", Some(""), written);
            room.insert(levels);
            let results = ["alice", "bob"]
                .map(|name| room.check(&room.event(name, "m", Some(""), &json!({}))));
            assert_eq!(results, expected, "version {version}: {written}");
        }
    }
}

/// Levels that mean the same are no change, however they are written.
#[test]
fn changes_of_form() {
    for version in RoomVersion::ALL {
        if version.rules().levels == LevelForm::Integer {
            continue;
        }
        let mut room = Room::new(version, "alice=join");
        room.levels(&json!({"ban": 60, "users": {"@alice:h": 50, "@bob:h": "060"}}));
        for (new, expected) in [
            (
                json!({"ban": "+60", "users": {"@alice:h": " 50", "@bob:h": 60}}),
                Ok(()),
            ),
            (
                json!({"ban": "61", "users": {"@alice:h": 50, "@bob:h": 60}}),
                Err(PowerLevelsChange("ban")),
            ),
        ] {
            let event = room.event("alice", "m.room.power_levels", Some(""), &new);
            assert_eq!(room.check(&event), expected, "version {version}: {new}");
        }
    }
}

/// Without power levels so far, the creator may set any.
#[test]
fn first_levels() {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "alice=join");
        let by = |sender: &str, levels: &Json| {
            room.check(&room.event(sender, "m.room.power_levels", Some(""), levels))
        };
        let levels = json!({"ban": 1000, "users": {"@alice:h": 2000}});
        assert_eq!(by("creator", &levels), Ok(()));
        assert_eq!(by("alice", &levels), Err(EventLevel));
        let bad = json!({"ban": "all"});
        assert_eq!(by("creator", &bad), Err(PowerLevels(NotAnInteger("ban"))));
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
                let refused = is_creator && version.rules().privileged_creators;
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
    for version in RoomVersion::ALL {
        let (creator, additional) = if version.rules().privileged_creators {
            (Infinite, Infinite)
        } else {
            (Finite(100), Finite(0))
        };
        let power = power(version, None);
        assert_eq!(power.user_level(&user("creator")), creator);
        assert_eq!(power.user_level(&user("alice")), additional);
        assert_eq!(power.levels(), None);
        assert_defaults(&power);
    }
}

#[test]
fn defaults_with_empty_levels() {
    for version in RoomVersion::ALL {
        let creator = if version.rules().privileged_creators {
            Infinite
        } else {
            Finite(0)
        };
        let power = power(version, Some(&json!({})));
        assert_eq!(power.user_level(&user("creator")), creator);
        assert_defaults(&power);
    }
}

fn assert_defaults(power: &RoomPower) {
    assert_eq!(power.user_level(&user("bob")), Finite(0));
    assert_eq!(power.event_level("m", true), Finite(50));
    assert_eq!(power.event_level("m", false), Finite(0));
    assert_eq!(
        [power.ban_level(), power.kick_level(), power.redact_level()],
        [Finite(50); 3]
    );
    assert_eq!(power.invite_level(), Finite(0));
    assert_eq!(power.notification_level("room"), Finite(50));
}

/// The creator is whom the content names, or the sender of the create event.
#[test]
fn default_level_of_a_creator_who_is_not_the_sender() {
    for version in RoomVersion::ALL {
        let rules = version.rules();
        let by_content = rules.creator == CreatorPlace::Content;
        for (creator, alice_is_creator) in [("@alice:h", by_content), ("alice", false)] {
            let room = Room::empty(version, &json!({"creator": creator}));
            let power = RoomPower::new(&room.create, None).unwrap();
            let level = |is_creator| match is_creator {
                true if rules.privileged_creators => Infinite,
                true => Finite(100),
                false => Finite(0),
            };
            assert_eq!(power.user_level(&user("alice")), level(alice_is_creator));
            assert_eq!(power.user_level(&user("creator")), level(!by_content));
        }
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
