//! Rules 6 to 9 and 11: sending any event.

use serde_json::{Value as Json, json};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::{
    AuthError::{self, *},
    AuthState, RoomPower, check,
};

use crate::support::Room;

/// Alice sends an event in a room with these power levels.
#[track_caller]
fn with_levels(
    levels: &Json,
    kind: &str,
    state_key: Option<&str>,
    expected: Result<(), AuthError>,
) {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "alice=join");
        if !levels.is_null() {
            room.levels(levels);
        }
        let event = room.event("alice", kind, state_key, &json!({}));
        assert_eq!(
            room.check(&event),
            expected,
            "version {version}: {levels} {kind} {state_key:?}"
        );
    }
}

#[test]
fn only_members_send() {
    for version in RoomVersion::ALL {
        for (description, expected) in [
            ("alice=join", Ok(())),
            ("alice=leave:100", Err(SenderNotJoined)),
            ("alice=invite:100", Err(SenderNotJoined)),
            ("alice=knock:100", Err(SenderNotJoined)),
            ("alice=ban:100", Err(SenderNotJoined)),
            ("public", Err(SenderNotJoined)),
        ] {
            let room = Room::new(version, description);
            assert_eq!(
                room.check(&room.event("alice", "m.room.message", None, &json!({}))),
                expected,
                "{description}"
            );
        }
    }
}

#[test]
fn level_of_the_type() {
    let alice = |level: i64, rest: Json| {
        let mut levels = rest;
        levels["users"] = json!({"@alice:h": level});
        levels
    };
    let none = Json::Null;
    with_levels(&none, "m", None, Ok(()));
    with_levels(&none, "m", Some(""), Err(EventLevel));
    with_levels(&json!({}), "m", None, Ok(()));
    with_levels(&json!({}), "m", Some(""), Err(EventLevel));
    with_levels(&alice(50, json!({})), "m", Some(""), Ok(()));
    with_levels(&alice(49, json!({})), "m", Some(""), Err(EventLevel));
    with_levels(&alice(-1, json!({})), "m", None, Err(EventLevel));
    with_levels(&json!({"users_default": 50}), "m", Some(""), Ok(()));
    with_levels(
        &json!({"users_default": 50, "users": {"@alice:h": 0}}),
        "m",
        Some(""),
        Err(EventLevel),
    );
    with_levels(&json!({"events_default": 1}), "m", None, Err(EventLevel));
    with_levels(
        &json!({"events_default": 1, "events": {"m": 0}}),
        "m",
        None,
        Ok(()),
    );
    with_levels(&json!({"state_default": 0}), "m", Some(""), Ok(()));
    with_levels(
        &json!({"state_default": 0, "events": {"m": 1}}),
        "m",
        Some(""),
        Err(EventLevel),
    );
    with_levels(
        &alice(1, json!({"events": {"m": 1, "l": 5, "n": 7}})),
        "m",
        Some(""),
        Ok(()),
    );
    with_levels(
        &alice(1, json!({"events": {"m": 1, "l": 5, "n": 7}})),
        "n",
        None,
        Err(EventLevel),
    );
    // A redaction is an event like any other here: its level isn't asked for.
    with_levels(&json!({"redact": 100}), "m.room.redaction", None, Ok(()));
    with_levels(
        &json!({"events": {"m.room.redaction": 1}}),
        "m.room.redaction",
        None,
        Err(EventLevel),
    );
}

#[test]
fn state_keys_that_name_users() {
    let all = json!({"state_default": 0});
    with_levels(&all, "m", Some("@alice:h"), Ok(()));
    with_levels(&all, "m", Some("@alice:h_x"), Err(StateKeyOfOtherUser));
    with_levels(&all, "m", Some("@bob:h"), Err(StateKeyOfOtherUser));
    with_levels(&all, "m", Some("@"), Err(StateKeyOfOtherUser));
    with_levels(&all, "m", Some("bob"), Ok(()));
    with_levels(&all, "m", Some(""), Ok(()));
}

#[test]
fn malformed_current_levels_allow_nothing() {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "alice=join");
        room.levels(&json!({"ban": "50"}));
        let result = room.check(&room.event("alice", "m", None, &json!({})));
        assert!(matches!(result, Err(PowerLevels(_))), "{result:?}");
    }
}

#[test]
fn creator_sends_anything() {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "");
        assert_eq!(
            room.check(&room.event("creator", "m.room.name", Some(""), &json!({}))),
            Ok(())
        );
    }
    let mut room = Room::new(RoomVersion::V12, "");
    room.levels(
        &json!({"users_default": -1, "events": {"m.room.tombstone": 9_007_199_254_740_991_i64}}),
    );
    assert_eq!(
        room.check(&room.event("creator", "m.room.tombstone", Some(""), &json!({}))),
        Ok(())
    );
}

/// A state that keeps its power parsed.
struct Parsed<'a>(&'a Room, RoomPower);

impl AuthState for Parsed<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        // The power levels must not be asked for.
        self.0
            .get(kind, state_key)
            .filter(|event| event.kind() != "m.room.power_levels")
    }

    fn power(&self) -> Option<&RoomPower> {
        Some(&self.1)
    }
}

#[test]
fn power_that_is_kept_is_used() {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "alice=join:50 bob=join:0");
        let power = RoomPower::new(&room.create, room.get("m.room.power_levels", "")).unwrap();
        let parsed = Parsed(&room, power);
        for (sender, expected) in [("alice", Ok(())), ("bob", Err(EventLevel))] {
            let event = room.event(sender, "m.room.name", Some(""), &json!({}));
            assert_eq!(check(version, &event, &parsed), expected);
        }
    }
}
