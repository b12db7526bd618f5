//! Rules 6 to 9 and 11: sending any event.

use serde_json::{Value as Json, json};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::{
    AuthError::{self, *},
    AuthState, Membership, PowerLevelsError, RoomPower, check,
};

use crate::support::Room;
use ruma_common::UserId;

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
    // Also where redactions have a rule of their own, this one comes before.
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
        room.levels(&json!({"ban": "all"}));
        let result = room.check(&room.event("alice", "m", None, &json!({})));
        assert_eq!(
            result,
            Err(PowerLevels(PowerLevelsError::NotAnInteger("ban")))
        );
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
}

/// Power levels are above the creator, unless creators are above them.
#[test]
fn creator_and_power_levels() {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "");
        room.levels(
            &json!({"users_default": -1, "events": {"m.room.tombstone": 9_007_199_254_740_991_i64}}),
        );
        let expected = if version.rules().privileged_creators {
            Ok(())
        } else {
            Err(EventLevel)
        };
        assert_eq!(
            room.check(&room.event("creator", "m.room.tombstone", Some(""), &json!({}))),
            expected,
            "version {version}"
        );
    }
}

/// A state that keeps parsed what it can.
struct Parsed<'a> {
    room: &'a Room,
    power: Result<RoomPower, PowerLevelsError>,
    membership: Option<Membership>,
}

impl AuthState for Parsed<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        assert!(
            !matches!(kind, "m.room.power_levels" | "m.room.member"),
            "{kind} is kept parsed"
        );
        self.room.get(kind, state_key)
    }

    fn power(&self) -> Option<Result<&RoomPower, PowerLevelsError>> {
        Some(self.power.as_ref().map_err(|error| *error))
    }

    fn membership(&self, user: &UserId) -> Option<Membership> {
        assert_ne!(user, "@creator:h");
        self.membership
    }
}

#[test]
fn what_is_kept_parsed_is_used() {
    let malformed = PowerLevelsError::NotAnInteger("kick");
    for version in RoomVersion::ALL {
        let room = Room::new(version, "alice=join:50 bob=join:0");
        let power = || RoomPower::new(&room.create, room.get("m.room.power_levels", "")).unwrap();
        for (sender, power, membership, expected) in [
            ("alice", Ok(power()), Some(Membership::Join), Ok(())),
            ("bob", Ok(power()), Some(Membership::Join), Err(EventLevel)),
            (
                "alice",
                Ok(power()),
                Some(Membership::Ban),
                Err(SenderNotJoined),
            ),
            ("alice", Ok(power()), None, Err(SenderNotJoined)),
            (
                "alice",
                Err(malformed),
                Some(Membership::Join),
                Err(PowerLevels(malformed)),
            ),
        ] {
            let parsed = Parsed {
                room: &room,
                power,
                membership,
            };
            let event = room.event(sender, "m.room.name", Some(""), &json!({}));
            assert_eq!(check(version, &event, &parsed), expected);
        }
    }
}
