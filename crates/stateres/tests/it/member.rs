//! Rule 5: memberships.

use serde_json::json;
use starling_events::{
    EventReference, Pdu, RoomVersion, SigningKey, room_version::CreatorPlace, sign::sign_event,
};
use starling_stateres::AuthError::{self, *};

use crate::support::{Room, member, reference, sign, user};

const RULES: [&str; 7] = [
    "public",
    "invite",
    "knock",
    "restricted",
    "knock_restricted",
    "private",
    "org.example.other",
];
const MEMBERSHIPS: [&str; 5] = ["leave", "invite", "join", "knock", "ban"];

/// Whether what is written in a cell holds in a version: `+` always, `-` never, `k` where there is knocking, `r` where
/// there are restricted joins, `kr` where both are one join rule.
fn holds(cell: &str, version: RoomVersion) -> bool {
    let rules = version.rules();
    match cell {
        "+" => true,
        "-" => false,
        "k" => rules.knocking,
        "r" => rules.restricted,
        "kr" => rules.knock_restricted,
        _ => panic!("{cell}"),
    }
}

/// One row per membership of a user, one column per join rule of [`RULES`]: where the action is allowed.
#[track_caller]
fn matrix(action: &str, rows: [&str; 5]) {
    for (membership, row) in MEMBERSHIPS.into_iter().zip(rows) {
        for (rule, expected) in RULES.into_iter().zip(row.split_whitespace()) {
            for version in RoomVersion::ALL {
                let room = Room::new(version, &format!("{rule} alice={membership}"));
                let allowed = room.check(&room.action(action)).is_ok();
                assert_eq!(
                    allowed,
                    holds(expected, version),
                    "version {version}: {membership}, {rule}: {action}"
                );
            }
        }
    }
}

#[test]
fn join_by_rule_and_membership() {
    matrix(
        "alice join",
        [
            // public, invite, knock, restricted, knock_restricted, private, other
            "+ - - - - - -",  // leave
            "+ + k r kr - -", // invite
            "+ + k r kr - -", // join
            "+ - - - - - -",  // knock
            "- - - - - - -",  // ban
        ],
    );
}

#[test]
fn knock_by_rule_and_membership() {
    matrix(
        "alice knock",
        [
            "- - k - kr - -", // leave
            "- - - - - - -",  // invite
            "- - - - - - -",  // join
            "- - k - kr - -", // knock
            "- - - - - - -",  // ban
        ],
    );
}

#[test]
fn leave_by_rule_and_membership() {
    let always = "+ + + + + + +";
    let never = "- - - - - - -";
    let knocking = "k k k k k k k";
    matrix("alice leave", [never, always, always, knocking, never]);
}

#[test]
fn invite_by_rule_and_membership() {
    let always = "+ + + + + + +";
    let never = "- - - - - - -";
    matrix(
        "creator invite alice",
        [always, always, never, always, never],
    );
}

#[test]
fn join() {
    member("", "alice join", Err(JoinRule)); // without a join rule, invite
    member("alice=invite", "alice join", Ok(()));
    member("public", "alice join", Ok(()));
    member("public", "alice/other join", Ok(()));
    member("public alice=ban", "alice join", Err(SenderBanned));
    member("public", "alice join bob", Err(SenderNotTarget));
    member(
        "public bob=invite",
        "creator join bob",
        Err(SenderNotTarget),
    );
    member("invite", "alice join", Err(JoinRule));
    member("private alice=invite", "alice join", Err(JoinRule));
}

/// Restricted joins: who authorises, in which room, and who has signed. `with_rule` is said where the version has the
/// room's join rule, else `Err(JoinRule)`; before restricted joins, nobody looks at who authorises.
#[track_caller]
fn restricted(
    description: &str,
    authorised_by: &str,
    signed_by: &str,
    with_rule: Result<(), AuthError>,
) {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, description);
        if description.contains("invite-takes-50") {
            room.levels(&json!({"invite": 50, "users": {"@bob:h": 50, "@carol:h": 49}}));
        }
        let content =
            json!({"membership": "join", "join_authorised_via_users_server": authorised_by});
        let alice = "alice/other";
        let event = room.event(alice, "m.room.member", Some("@alice:other"), &content);
        let key = SigningKey::generate([1; 32], "1").unwrap();
        let event = sign_event(&event, signed_by.try_into().unwrap(), &key).unwrap();
        let rule = description.split(' ').next().unwrap_or_default();
        let is_known = match rule {
            "restricted" => version.rules().restricted,
            "knock_restricted" => version.rules().knock_restricted,
            _ => true,
        };
        let expected = match with_rule {
            Err(AuthorisingServerNotSigned | SenderBanned) if version.rules().restricted => {
                with_rule
            }
            Err(AuthorisingServerNotSigned) if rule == "public" => Ok(()),
            Err(SenderBanned) => with_rule,
            _ if is_known => with_rule,
            _ => Err(JoinRule),
        };
        assert_eq!(
            room.check(&event),
            expected,
            "version {version}: [{description}] by {authorised_by}"
        );
    }
}

#[test]
fn restricted_join() {
    for rule in ["restricted", "knock_restricted"] {
        let with = |rest: &str| format!("{rule} {rest}");
        let levels = with("bob=join carol=join invite-takes-50=join");
        restricted(&with("bob=join"), "@bob:h", "h", Ok(()));
        let unsigned = Err(AuthorisingServerNotSigned);
        restricted(&with("bob=join"), "@bob:h", "other", unsigned);
        let unauthorised = Err(JoinNotAuthorised);
        restricted(&with("bob=leave"), "@bob:h", "h", unauthorised);
        restricted(&with("bob=invite"), "@bob:h", "h", unauthorised);
        restricted(&with(""), "@bob:h", "h", unauthorised);
        let banned = with("alice/other=ban bob=join");
        restricted(&banned, "@bob:h", "h", Err(SenderBanned));
        restricted(&levels, "@bob:h", "h", Ok(()));
        restricted(&levels, "@carol:h", "h", unauthorised);
        restricted(&with("bob=join"), "bob", "h", unsigned);
    }
    // The signature is asked for even where nobody needs to authorise.
    restricted("public", "@bob:h", "other", Err(AuthorisingServerNotSigned));
    restricted("public", "@bob:h", "h", Ok(()));
    restricted("invite bob=join", "@bob:h", "h", Err(JoinRule));
}

#[test]
fn restricted_join_that_nobody_authorises() {
    for version in RoomVersion::ALL {
        for (rule, is_known) in [
            ("restricted", version.rules().restricted),
            ("knock_restricted", version.rules().knock_restricted),
        ] {
            let room = Room::new(version, rule);
            let expected = if is_known {
                JoinNotAuthorised
            } else {
                JoinRule
            };
            let result = room.check(&room.action("alice join"));
            assert_eq!(result, Err(expected), "version {version}: {rule}");
        }
    }
}

/// What signatures of the server there are doesn't matter, as long as there is one.
#[test]
fn signatures_of_the_authorising_server() {
    let content = r#"{"join_authorised_via_users_server":"@bob:s","membership":"join"}"#;
    for version in RoomVersion::ALL {
        if !version.rules().restricted {
            continue;
        }
        let room = Room::new(version, "public");
        let event = room.received("alice", "m.room.member", Some("@alice:h"), content);
        for (signatures, expected) in [
            (r#""s":{"ed25519:1":"A"}"#, Ok(())),
            (r#""s":{"ed25519:1":1,"x":"A"}"#, Ok(())),
            (r#""s":{}"#, Err(AuthorisingServerNotSigned)),
            (r#""s":"A""#, Err(AuthorisingServerNotSigned)),
            (r#""s":{"ed25519:1":1}"#, Err(AuthorisingServerNotSigned)),
            (r#""t":{"ed25519:1":"A"}"#, Err(AuthorisingServerNotSigned)),
        ] {
            let json = String::from_utf8(event.json().to_vec()).unwrap();
            let signed = json.replace(
                r#""signatures":{"#,
                &format!(r#""signatures":{{{signatures},"#),
            );
            let event = Pdu::parse(version, signed.as_bytes()).unwrap();
            assert_eq!(
                room.check(&event),
                expected,
                "version {version}: {signatures}"
            );
        }
    }
}

#[test]
fn creators_may_authorise_restricted_joins() {
    for version in RoomVersion::ALL {
        if !version.rules().restricted {
            continue;
        }
        let mut room = Room::new(version, "restricted");
        room.levels(&json!({"invite": 50}));
        let content =
            json!({"membership": "join", "join_authorised_via_users_server": "@creator:h"});
        let result = room.check(&room.event("alice", "m.room.member", Some("@alice:h"), &content));
        let expected = if version.rules().privileged_creators {
            Ok(())
        } else {
            Err(JoinNotAuthorised)
        };
        assert_eq!(result, expected, "version {version}");
    }
}

#[test]
fn creators_first_join() {
    for version in RoomVersion::ALL {
        let room = Room::empty(version, &json!({"room_version": version.as_str()}));
        let create = || EventReference::of(&room.create);
        let other = || reference(version, 'x');
        for (sender, prev_events, expected) in [
            ("creator", vec![create()], Ok(())),
            ("creator", vec![], Err(JoinRule)),
            ("creator", vec![create(), other()], Err(JoinRule)),
            ("creator", vec![other()], Err(JoinRule)),
            ("alice", vec![create()], Err(JoinRule)),
        ] {
            let result = room.check(&first_join(&room, sender, prev_events));
            assert_eq!(result, expected, "version {version}: {sender}");
        }
    }
}

fn first_join(room: &Room, sender: &str, prev_events: Vec<EventReference>) -> Pdu {
    let (user, content) = (user(sender), json!({"membership": "join"}));
    let mut join = room.builder(sender, "m.room.member", Some(user.as_str()), &content);
    join.prev_events = prev_events;
    sign(join, room.version)
}

/// The creator is whom the content names, or the sender of the create event.
#[test]
fn first_join_of_a_creator_who_is_not_the_sender() {
    for version in RoomVersion::ALL {
        let by_content = version.rules().creator == CreatorPlace::Content;
        for (creator, alice_is_creator) in [
            (json!("@alice:other"), by_content),
            (json!("@Alice:other"), false),
            (json!("alice"), false),
            (json!(null), false),
        ] {
            let room = Room::empty(version, &json!({"creator": creator}));
            for (sender, is_creator) in
                [("alice/other", alice_is_creator), ("creator", !by_content)]
            {
                let join = first_join(&room, sender, vec![EventReference::of(&room.create)]);
                let expected = if is_creator { Ok(()) } else { Err(JoinRule) };
                assert_eq!(
                    room.check(&join),
                    expected,
                    "version {version}: {creator} {sender}"
                );
            }
        }
    }
}

#[test]
fn invite() {
    member("alice=join", "alice invite bob", Ok(()));
    member("alice=join", "alice invite bob/other", Ok(()));
    member("alice=join:-1", "alice invite bob", Err(InviteLevel));
    member("alice=join:0", "alice invite bob", Ok(()));
    member("", "alice invite bob", Err(SenderNotJoined));
    for away in ["leave", "invite", "knock", "ban"] {
        member(
            &format!("alice={away}:100"),
            "alice invite bob",
            Err(SenderNotJoined),
        );
    }
    member("alice=join bob=join", "alice invite bob", Err(TargetJoined));
    member("alice=join bob=ban", "alice invite bob", Err(TargetBanned));
    member("alice=join bob=invite", "alice invite bob", Ok(()));
    member("alice=join bob=knock", "alice invite bob", Ok(())); // known or not
    member("alice=join", "alice invite alice", Err(TargetJoined));
}

#[test]
fn leave_oneself() {
    member("alice=join", "alice leave", Ok(()));
    member("alice=invite", "alice leave", Ok(()));
    member("alice=leave", "alice leave", Err(NothingToLeave));
    member("alice=ban", "alice leave", Err(NothingToLeave));
    member("", "alice leave", Err(NothingToLeave));
}

#[test]
fn kick() {
    member("alice=join:50 bob=join:49", "alice leave bob", Ok(()));
    member(
        "alice=join:50 bob=join:50",
        "alice leave bob",
        Err(KickLevel),
    );
    member(
        "alice=join:50 bob=join:51",
        "alice leave bob",
        Err(KickLevel),
    );
    member(
        "alice=join:49 bob=join:0",
        "alice leave bob",
        Err(KickLevel),
    );
    member("alice=join:50 bob=invite", "alice leave bob", Ok(()));
    member("alice=join:50 bob=knock", "alice leave bob", Ok(()));
    member("alice=join:50 bob=leave", "alice leave bob", Ok(()));
    member("alice=join:50", "alice leave bob", Ok(()));
    for away in ["leave", "invite", "knock", "ban"] {
        member(
            &format!("alice={away}:100 bob=join"),
            "alice leave bob",
            Err(SenderNotJoined),
        );
    }
}

#[test]
fn unban() {
    member("alice=join:50 bob=ban", "alice leave bob", Ok(()));
    member("alice=join:49 bob=ban", "alice leave bob", Err(UnbanLevel));
    member(
        "alice=join:50 bob=ban:50",
        "alice leave bob",
        Err(KickLevel),
    );
    member("bob=ban", "alice leave bob", Err(SenderNotJoined));
}

#[test]
fn ban() {
    member("alice=join:50 bob=join:49", "alice ban bob", Ok(()));
    member("alice=join:50 bob=join:50", "alice ban bob", Err(BanLevel));
    member("alice=join:49 bob=join:0", "alice ban bob", Err(BanLevel));
    member("alice=join:50", "alice ban alice", Err(BanLevel));
    for membership in MEMBERSHIPS {
        member(
            &format!("alice=join:50 bob={membership}"),
            "alice ban bob",
            Ok(()),
        );
    }
    for away in ["leave", "invite", "knock", "ban"] {
        member(
            &format!("alice={away}:100 bob=join"),
            "alice ban bob",
            Err(SenderNotJoined),
        );
    }
}

#[test]
fn kicks_and_bans_have_levels_of_their_own() {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "alice=join bob=join carol=ban");
        for (kick, ban, expected) in [
            (10, 20, [Err(KickLevel), Err(BanLevel), Err(UnbanLevel)]),
            (5, 20, [Ok(()), Err(BanLevel), Err(UnbanLevel)]),
            (10, 5, [Err(KickLevel), Ok(()), Err(KickLevel)]),
            (5, 5, [Ok(()), Ok(()), Ok(())]),
        ] {
            room.levels(&json!({"users": {"@alice:h": 5}, "kick": kick, "ban": ban}));
            let results = ["alice leave bob", "alice ban bob", "alice leave carol"];
            assert_eq!(
                results.map(|action| room.check(&room.action(action))),
                expected,
                "kick {kick}, ban {ban}"
            );
        }
    }
}

/// The creator has 100 by default, or by the power levels; from version 12 on more than any level, whatever they say.
#[test]
fn power_of_creators() {
    for (description, action, by_levels, if_privileged) in [
        ("", "creator ban alice", Ok(()), Ok(())),
        ("alice=join:100", "creator ban alice", Err(BanLevel), Ok(())),
        (
            "alice=join:9007199254740991",
            "creator leave alice",
            Err(KickLevel),
            Ok(()),
        ),
        (
            "alice=join:9007199254740991",
            "alice ban creator",
            Ok(()),
            Err(BanLevel),
        ),
        (
            "alice=join:9007199254740991",
            "alice leave creator",
            Ok(()),
            Err(KickLevel),
        ),
    ] {
        for version in RoomVersion::ALL {
            let expected = if version.rules().privileged_creators {
                if_privileged
            } else {
                by_levels
            };
            let room = Room::new(version, description);
            assert_eq!(
                room.check(&room.action(action)),
                expected,
                "version {version}: [{description}] {action}"
            );
        }
    }
}

#[test]
fn creators_of_version_12_are_each_others_equals() {
    let content = json!({"room_version": "12", "additional_creators": ["@alice:h", "@bob:other"]});
    let mut room = Room::empty(RoomVersion::V12, &content);
    for name in ["creator", "alice", "bob/other", "carol"] {
        room.set(
            name,
            "m.room.member",
            user(name).as_str(),
            &json!({"membership": "join"}),
        );
    }
    room.levels(&json!({"users": {"@carol:h": 9_007_199_254_740_991_i64}}));
    for (action, expected) in [
        ("alice ban creator", Err(BanLevel)),
        ("creator ban alice", Err(BanLevel)),
        ("alice leave bob/other", Err(KickLevel)),
        ("bob/other ban carol", Ok(())),
        ("carol ban bob/other", Err(BanLevel)),
    ] {
        assert_eq!(room.check(&room.action(action)), expected, "{action}");
    }
}

#[test]
fn knock() {
    for (description, action, expected) in [
        ("knock", "alice knock", Ok(())),
        ("knock", "alice knock bob", Err(SenderNotTarget)),
        ("knock alice=ban", "alice knock", Err(CannotKnock)),
        ("knock alice=join", "alice knock", Err(CannotKnock)),
        ("invite", "alice knock", Err(KnockRule)),
        ("", "alice knock", Err(KnockRule)),
        ("alice=knock", "alice leave", Ok(())),
    ] {
        for version in RoomVersion::ALL {
            let room = Room::new(version, description);
            let expected = match expected {
                _ if version.rules().knocking => expected,
                Ok(()) if action == "alice leave" => Err(NothingToLeave),
                _ => Err(UnknownMembership),
            };
            let result = room.check(&room.action(action));
            assert_eq!(
                result, expected,
                "version {version}: [{description}] {action}"
            );
        }
    }
}

#[test]
fn malformed() {
    member("public", "alice org.example.dance", Err(UnknownMembership));
    for version in RoomVersion::ALL {
        let room = Room::new(version, "public alice=join:100");
        for (state_key, content, expected) in [
            (None, json!({"membership": "join"}), NoMembership),
            (Some("@alice:h"), json!({}), NoMembership),
            (Some("@alice:h"), json!({"membership": 1}), NoMembership),
            (Some("@alice:h"), json!({"membership": null}), NoMembership),
            (Some(""), json!({"membership": "invite"}), TargetNotAUser),
            (Some("bob"), json!({"membership": "invite"}), TargetNotAUser),
        ] {
            let event = room.event("alice", "m.room.member", state_key, &content);
            assert_eq!(room.check(&event), Err(expected), "{state_key:?} {content}");
        }
        // A property that is there denotes no user if it is none, and no server then has signed.
        for malformed in [json!(1), json!(null), json!("alice"), json!(["@alice:h"])] {
            let content =
                json!({"membership": "join", "join_authorised_via_users_server": malformed});
            let event = room.event("alice", "m.room.member", Some("@alice:h"), &content);
            let expected = if version.rules().restricted {
                Err(AuthorisingServerNotSigned)
            } else {
                Ok(())
            };
            assert_eq!(room.check(&event), expected, "version {version}: {content}");
        }
    }
}
