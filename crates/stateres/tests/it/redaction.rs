//! Whether redactions take effect.

use serde_json::json;
use starling_events::RoomVersion;
use starling_stateres::{AuthState, RoomPower, can_redact};

use crate::support::Room;

#[track_caller]
fn check(description: &str, redactor: &str, author: &str, expected: bool) {
    for version in RoomVersion::ALL {
        let room = Room::new(version, description);
        let power = RoomPower::new(&room.create, room.get("m.room.power_levels", "")).unwrap();
        let target = room.event(author, "m.room.message", None, &json!({}));
        let redaction = room.event(
            redactor,
            "m.room.redaction",
            None,
            &json!({"redacts": target.event_id()}),
        );
        assert_eq!(
            can_redact(&redaction, &target, &power),
            expected,
            "version {version}: {redactor}, {author}"
        );
    }
}

#[test]
fn by_power_or_by_server() {
    check("", "alice", "alice", true);
    check("", "alice", "bob", true);
    check("", "alice", "bob/other", false);
    check("", "alice/other", "alice", false);
    check("alice=join:50", "alice", "bob/other", true);
    check("alice=join:49", "alice", "bob/other", false);
    check("alice=join:-100", "alice", "alice", true);
    check("", "creator", "bob/other", true);
}

#[test]
fn only_in_its_room() {
    let room = Room::new(RoomVersion::V12, "");
    let other = Room::empty(RoomVersion::V12, &json!({"other": 1}));
    let power = RoomPower::new(&room.create, None).unwrap();
    let target = other.event("creator", "m.room.message", None, &json!({}));
    let redaction = room.event(
        "creator",
        "m.room.redaction",
        None,
        &json!({"redacts": target.event_id()}),
    );
    assert!(!can_redact(&redaction, &target, &power));
}
