//! Redactions: rule 11 of room versions 1 and 2, and whether they take effect.

use serde_json::json;
use starling_events::{EventBuilder, Pdu, RoomVersion, SigningKey};
use starling_stateres::{
    AuthError::{self, *},
    AuthState, RoomPower, can_redact,
};

use crate::support::{Room, sign};

/// A redaction of this event by the sender, without previous events.
fn redaction_of(room: &Room, sender: &str, target: Option<&Pdu>) -> EventBuilder {
    let mut redaction = room.builder(sender, "m.room.redaction", None, &json!({}));
    redaction.redacts = target.map(|target| target.event_id().to_owned());
    redaction
}

/// Builds the event on a server that needn't be its sender's.
fn built_on(server: &str, event: EventBuilder, version: RoomVersion) -> Pdu {
    let key = SigningKey::generate([1; 32], "1").unwrap();
    event
        .build(version, server.try_into().unwrap(), &key)
        .unwrap()
}

#[track_caller]
fn check(description: &str, redactor: &str, author: &str, expected: bool) {
    for version in RoomVersion::ALL {
        let room = Room::new(version, description);
        let power = RoomPower::new(&room.create, room.get("m.room.power_levels", "")).unwrap();
        let target = room.event(author, "m.room.message", None, &json!({}));
        let redaction = sign(redaction_of(&room, redactor, Some(&target)), version);
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

/// Where events state their id, its domain counts; elsewhere that of the sender.
#[test]
fn servers_of_events_and_of_senders() {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "");
        let power = RoomPower::new(&room.create, None).unwrap();
        let message = |sender: &str| room.builder(sender, "m.room.message", None, &json!({}));
        let of_other = built_on("other", message("alice"), version);
        let of_own = built_on("h", message("bob/other"), version);
        for (target, by_event_id) in [(&of_other, false), (&of_own, true)] {
            let redaction = sign(redaction_of(&room, "alice", Some(target)), version);
            assert_eq!(
                can_redact(&redaction, target, &power),
                by_event_id == version.rules().redaction_rule,
                "version {version}"
            );
        }
    }
}

#[test]
fn only_in_its_room() {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "");
        let power = RoomPower::new(&room.create, None).unwrap();
        let mut target = room.builder("creator", "m.room.message", None, &json!({}));
        let room_id = if version.rules().create_in_auth_events {
            "!other:h".to_owned()
        } else {
            format!("!{}", "x".repeat(43))
        };
        target.room_id = Some(room_id.try_into().unwrap());
        let target = sign(target, version);
        let redaction = sign(redaction_of(&room, "creator", Some(&target)), version);
        assert!(!can_redact(&redaction, &target, &power));
    }
}

/// What the rules say to a redaction of alice's, of the server `h`, on an event that was made by this server: where they
/// have a rule for redactions. Elsewhere they allow it.
#[track_caller]
fn rule(description: &str, server: Option<&str>, by_own_rule: Result<(), AuthError>) {
    for version in RoomVersion::ALL {
        let room = Room::new(version, description);
        let target = server.map(|server| {
            let message = room.builder("bob", "m.room.message", None, &json!({}));
            built_on(server, message, version)
        });
        let redaction = sign(redaction_of(&room, "alice", target.as_ref()), version);
        let expected = if version.rules().redaction_rule {
            by_own_rule
        } else {
            Ok(())
        };
        assert_eq!(
            room.check(&redaction),
            expected,
            "version {version}: [{description}] {server:?}"
        );
    }
}

#[test]
fn own_rule() {
    rule("alice=join:50", Some("other"), Ok(()));
    rule("alice=join:49", Some("other"), Err(RedactLevel));
    rule("alice=join:49", Some("h"), Ok(()));
    rule("alice=join", Some("other"), Err(RedactLevel));
    rule("alice=join", Some("h"), Ok(()));
    rule("alice=join:50", None, Ok(()));
    rule("alice=join:49", None, Err(RedactLevel));
}

/// The server is that of the redaction's id, not that of its sender.
#[test]
fn own_rule_by_event_ids() {
    for version in RoomVersion::ALL {
        if !version.rules().redaction_rule {
            continue;
        }
        let room = Room::new(version, "alice=join");
        let of_other = built_on(
            "other",
            room.builder("bob/other", "m.room.message", None, &json!({})),
            version,
        );
        let redaction = || redaction_of(&room, "alice", Some(&of_other));
        assert_eq!(room.check(&built_on("other", redaction(), version)), Ok(()));
        assert_eq!(
            room.check(&built_on("h", redaction(), version)),
            Err(RedactLevel)
        );
    }
}

#[test]
fn own_rule_comes_after_the_level_of_the_type() {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "alice=join");
        room.levels(&json!({"redact": 0, "events": {"m.room.redaction": 1}}));
        let redaction = sign(redaction_of(&room, "alice", None), version);
        assert_eq!(room.check(&redaction), Err(EventLevel));
    }
}
