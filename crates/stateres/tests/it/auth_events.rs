//! Rule 3 and the selection of auth events.

use serde_json::{Value as Json, json};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::{
    AuthError::{self, *},
    auth_types::auth_types_of,
    check_auth_events,
};

use crate::support::{Room, create_event, user};

/// The pairs that an event of alice's selects, written `type key`, without the prefix `m.room.`; `create` is added for
/// the versions that select it.
#[track_caller]
fn selects(kind: &str, state_key: Option<&str>, content: &Json, expected: &[&str]) {
    for version in RoomVersion::ALL {
        let room = Room::new(version, "");
        let event = room.event("alice", kind, state_key, content);
        let selected = auth_types_of(&event);
        let selected: Vec<_> = selected
            .iter()
            .map(|(kind, key)| format!("{} {key}", kind.trim_start_matches("m.room.")))
            .collect();
        let create = (version == RoomVersion::V11).then_some("create ");
        let expected: Vec<_> = create.into_iter().chain(expected.iter().copied()).collect();
        assert_eq!(selected, expected, "version {version}");
    }
}

#[test]
fn selection() {
    let basic = ["power_levels ", "member @alice:h"];
    selects(
        "m.room.message",
        None,
        &json!({"membership": "join"}),
        &basic,
    );
    selects("m.room.name", Some(""), &json!({}), &basic);
    let member = |membership: &str, target: &str, expected: &[&str]| {
        let expected: Vec<_> = basic.iter().chain(expected).copied().collect();
        selects(
            "m.room.member",
            Some(target),
            &json!({ "membership": membership }),
            &expected,
        );
    };
    member("join", "@alice:h", &["join_rules "]);
    member("knock", "@alice:h", &["join_rules "]);
    member("invite", "@bob:h", &["member @bob:h", "join_rules "]);
    member("leave", "@alice:h", &[]);
    member("leave", "@bob:h", &["member @bob:h"]);
    member("ban", "@bob:h", &["member @bob:h"]);
    selects(
        "m.room.member",
        None,
        &json!({"membership": "join"}),
        &basic,
    );
    let restricted = json!({"membership": "join", "join_authorised_via_users_server": "@bob:h"});
    selects(
        "m.room.member",
        Some("@alice:h"),
        &restricted,
        &[
            "power_levels ",
            "member @alice:h",
            "join_rules ",
            "member @bob:h",
        ],
    );
    let own = json!({"membership": "join", "join_authorised_via_users_server": "@alice:h"});
    selects(
        "m.room.member",
        Some("@alice:h"),
        &own,
        &["power_levels ", "member @alice:h", "join_rules "],
    );
    let third_party =
        json!({"membership": "invite", "third_party_invite": {"signed": {"token": "t"}}});
    selects(
        "m.room.member",
        Some("@bob:h"),
        &third_party,
        &[
            "power_levels ",
            "member @alice:h",
            "member @bob:h",
            "join_rules ",
            "third_party_invite t",
        ],
    );
}

#[test]
fn create_selects_nothing() {
    for version in RoomVersion::ALL {
        assert!(auth_types_of(&create_event(version, &json!({}))).is_empty());
    }
}

/// Checks a message of alice's with auth events chosen from the room by name.
#[track_caller]
fn check(version: RoomVersion, chosen: &[&str], expected: Result<(), AuthError>) {
    let room = Room::new(version, "public alice=join:50 bob=join");
    let message = room.event("alice", "m.room.message", None, &json!({}));
    let chosen_events: Vec<Pdu> = chosen
        .iter()
        .map(|name| match *name {
            "create" => room.create.clone(),
            "levels" => room.state[&("m.room.power_levels".to_owned(), String::new())].clone(),
            "levels again" => room.event(
                "creator",
                "m.room.power_levels",
                Some(""),
                &json!({"ban": 1}),
            ),
            "join rules" => room.state[&("m.room.join_rules".to_owned(), String::new())].clone(),
            "message" => room.event("alice", "m.room.message", None, &json!({})),
            "levels, no state" => room.event("creator", "m.room.power_levels", None, &json!({})),
            "levels of another room" => {
                let mut event =
                    room.builder("creator", "m.room.power_levels", Some(""), &json!({}));
                event.room_id = Some(match version {
                    RoomVersion::V11 => "!other:h".try_into().unwrap(),
                    RoomVersion::V12 => format!("!{}", "x".repeat(43)).try_into().unwrap(),
                });
                crate::support::sign(event, version)
            }
            name => room.state[&("m.room.member".to_owned(), user(name).to_string())].clone(),
        })
        .collect();
    let references: Vec<&Pdu> = chosen_events.iter().collect();
    assert_eq!(
        check_auth_events(version, &message, &references),
        expected,
        "version {version}: {chosen:?}"
    );
}

#[test]
fn choice_of_version_11() {
    use RoomVersion::V11;
    check(V11, &["create", "levels", "alice"], Ok(()));
    check(V11, &["alice", "create"], Ok(()));
    check(V11, &["create"], Ok(()));
    check(V11, &[], Err(NoCreateAmongAuthEvents));
    check(V11, &["levels", "alice"], Err(NoCreateAmongAuthEvents));
    check(V11, &["create", "create"], Err(DuplicateAuthEvent));
}

#[test]
fn choice_of_version_12() {
    use RoomVersion::V12;
    check(V12, &["levels", "alice"], Ok(()));
    check(V12, &["alice"], Ok(()));
    check(V12, &[], Ok(()));
    check(
        V12,
        &["create", "levels", "alice"],
        Err(UnexpectedAuthEvent),
    );
}

#[test]
fn choice_of_any_version() {
    for version in RoomVersion::ALL {
        let check = |chosen: &[&str], expected| {
            let create = (version == RoomVersion::V11).then_some("create");
            let chosen: Vec<_> = create.into_iter().chain(chosen.iter().copied()).collect();
            check(version, &chosen, expected);
        };
        check(&["levels", "levels"], Err(DuplicateAuthEvent));
        check(&["levels", "levels again"], Err(DuplicateAuthEvent));
        check(&["bob"], Err(UnexpectedAuthEvent));
        check(&["join rules"], Err(UnexpectedAuthEvent));
        check(&["message"], Err(UnexpectedAuthEvent));
        check(&["levels, no state"], Err(UnexpectedAuthEvent));
        check(&["levels of another room"], Err(AuthEventOfOtherRoom));
    }
}

#[test]
fn create_events_have_no_choice() {
    for version in RoomVersion::ALL {
        assert_eq!(
            check_auth_events(version, &create_event(version, &json!({})), &[]),
            Ok(())
        );
    }
}
