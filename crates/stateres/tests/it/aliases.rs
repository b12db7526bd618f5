//! Rule 4 of room versions 1 to 5: aliases.

use serde_json::json;
use starling_events::RoomVersion;
use starling_stateres::AuthError::{self, *};

use crate::support::Room;

/// What the rules say to aliases that alice, of the server `h`, sends: where they have a rule for them, and where not.
#[track_caller]
fn check(
    description: &str,
    state_key: Option<&str>,
    by_own_rule: Result<(), AuthError>,
    otherwise: Result<(), AuthError>,
) {
    for version in RoomVersion::ALL {
        let room = Room::new(version, description);
        let event = room.event(
            "alice",
            "m.room.aliases",
            state_key,
            &json!({"aliases": []}),
        );
        let expected = if version.rules().aliases_rule {
            by_own_rule
        } else {
            otherwise
        };
        assert_eq!(
            room.check(&event),
            expected,
            "version {version}: [{description}] {state_key:?}"
        );
    }
}

#[test]
fn need_no_membership_and_no_power() {
    check("", Some("h"), Ok(()), Err(SenderNotJoined));
    check("alice=ban", Some("h"), Ok(()), Err(SenderNotJoined));
    check("alice=join:-1", Some("h"), Ok(()), Err(EventLevel));
    check("alice=join:50", Some("h"), Ok(()), Ok(()));
}

#[test]
fn are_those_of_the_senders_server() {
    let other = Err(AliasesOfOtherServer);
    check("alice=join:50", Some("other"), other, Ok(()));
    check("alice=join:50", Some(""), other, Ok(()));
    check("alice=join:50", Some("H"), other, Ok(()));
    check("alice=join:50", Some("@alice:h"), other, Ok(()));
    check(
        "alice=join:50",
        Some("@bob:h"),
        other,
        Err(StateKeyOfOtherUser),
    );
    check("alice=join:50", None, Err(AliasesWithoutStateKey), Ok(()));
}

#[test]
fn are_those_of_a_server_that_may_take_part() {
    for version in RoomVersion::ALL {
        let room = Room::empty(version, &json!({"m.federate": false}));
        let event = room.event("alice/other", "m.room.aliases", Some("other"), &json!({}));
        assert_eq!(room.check(&event), Err(NotFederated), "version {version}");
    }
}
