//! Rule 3 and the selection of auth events.

use serde_json::{Value as Json, json};
use starling_events::{Pdu, RoomVersion, room_version::RoomIdForm};
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
        let create = version.rules().create_in_auth_events.then_some("create ");
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

/// What an event of alice's about herself selects, beside what all events do.
fn selected_for_member(version: RoomVersion, content: &Json) -> Vec<String> {
    let room = Room::new(version, "");
    let event = room.event("alice", "m.room.member", Some("@alice:h"), content);
    let selected = auth_types_of(&event).into_iter();
    let others = selected.skip_while(|(kind, _)| *kind != "m.room.member");
    others
        .skip(1)
        .map(|(kind, key)| format!("{kind} {key}"))
        .collect()
}

#[test]
fn selection_by_what_the_version_knows() {
    let restricted = json!({"membership": "join", "join_authorised_via_users_server": "@bob:h"});
    for version in RoomVersion::ALL {
        let rules = version.rules();
        let knock = selected_for_member(version, &json!({"membership": "knock"}));
        let expected: &[&str] = if rules.knocking {
            &["m.room.join_rules "]
        } else {
            &[]
        };
        assert_eq!(knock, expected, "version {version}");
        let join = selected_for_member(version, &restricted);
        let expected: &[&str] = if rules.restricted {
            &["m.room.join_rules ", "m.room.member @bob:h"]
        } else {
            &["m.room.join_rules "]
        };
        assert_eq!(join, expected, "version {version}");
    }
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
                event.room_id = Some(match version.rules().room_id {
                    RoomIdForm::WithDomain => "!other:h".try_into().unwrap(),
                    RoomIdForm::CreateEventHash => {
                        format!("!{}", "x".repeat(43)).try_into().unwrap()
                    }
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
fn choice_with_the_create_event() {
    for version in RoomVersion::ALL {
        if !version.rules().create_in_auth_events {
            continue;
        }
        check(version, &["create", "levels", "alice"], Ok(()));
        check(version, &["alice", "create"], Ok(()));
        check(version, &["create"], Ok(()));
        check(version, &[], Err(NoCreateAmongAuthEvents));
        check(version, &["levels", "alice"], Err(NoCreateAmongAuthEvents));
        check(version, &["create", "create"], Err(DuplicateAuthEvent));
    }
}

#[test]
fn choice_without_the_create_event() {
    for version in RoomVersion::ALL {
        if version.rules().create_in_auth_events {
            continue;
        }
        check(version, &["levels", "alice"], Ok(()));
        check(version, &["alice"], Ok(()));
        check(version, &[], Ok(()));
        check(
            version,
            &["create", "levels", "alice"],
            Err(UnexpectedAuthEvent),
        );
    }
}

#[test]
fn choice_of_any_version() {
    for version in RoomVersion::ALL {
        let check = |chosen: &[&str], expected| {
            let create = version.rules().create_in_auth_events.then_some("create");
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
