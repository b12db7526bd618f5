//! Rule 5: memberships.

use serde_json::json;
use starling_events::{RoomVersion, SigningKey};
use starling_stateres::AuthError::{self, *};

use crate::support::{Room, event_id, member, user};

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

/// One row per membership of a user, one column per join rule of [`RULES`]: `+` where the action is allowed.
#[track_caller]
fn matrix(action: &str, rows: [&str; 5]) {
    for (membership, row) in MEMBERSHIPS.into_iter().zip(rows) {
        for (rule, expected) in RULES.into_iter().zip(row.split_whitespace()) {
            for version in RoomVersion::ALL {
                let room = Room::new(version, &format!("{rule} alice={membership}"));
                let allowed = room.check(&room.action(action)).is_ok();
                assert_eq!(
                    allowed,
                    expected == "+",
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
            "+ - - - - - -", // leave
            "+ + + + + - -", // invite
            "+ + + + + - -", // join
            "+ - - - - - -", // knock
            "- - - - - - -", // ban
        ],
    );
}

#[test]
fn knock_by_rule_and_membership() {
    matrix(
        "alice knock",
        [
            "- - + - + - -", // leave
            "- - - - - - -", // invite
            "- - - - - - -", // join
            "- - + - + - -", // knock
            "- - - - - - -", // ban
        ],
    );
}

#[test]
fn leave_by_rule_and_membership() {
    let always = "+ + + + + + +";
    let never = "- - - - - - -";
    matrix("alice leave", [never, always, always, always, never]);
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
    member("restricted", "alice join", Err(JoinNotAuthorised));
    member("private alice=invite", "alice join", Err(JoinRule));
}

/// Restricted joins: who authorises, in which room, and who has signed.
#[track_caller]
fn restricted(
    description: &str,
    authorised_by: &str,
    signed_by: &str,
    expected: Result<(), AuthError>,
) {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, description);
        if description.contains("invite-takes-50") {
            room.levels(&json!({"invite": 50, "users": {"@bob:h": 50, "@carol:h": 49}}));
        }
        let content =
            json!({"membership": "join", "join_authorised_via_users_server": authorised_by});
        let event = room.builder(
            "alice/other",
            "m.room.member",
            Some("@alice:other"),
            &content,
        );
        let key = SigningKey::generate([1; 32], "1").unwrap();
        let event = event
            .build(version, signed_by.try_into().unwrap(), &key)
            .unwrap();
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
        restricted(&with("bob=join"), "@bob:h", "h", Ok(()));
        restricted(
            &with("bob=join"),
            "@bob:h",
            "other",
            Err(AuthorisingServerNotSigned),
        );
        restricted(&with("bob=leave"), "@bob:h", "h", Err(JoinNotAuthorised));
        restricted(&with("bob=invite"), "@bob:h", "h", Err(JoinNotAuthorised));
        restricted(&with(""), "@bob:h", "h", Err(JoinNotAuthorised));
        restricted(
            &with("alice/other=ban bob=join"),
            "@bob:h",
            "h",
            Err(SenderBanned),
        );
        restricted(
            &with("bob=join carol=join invite-takes-50=join"),
            "@bob:h",
            "h",
            Ok(()),
        );
        restricted(
            &with("bob=join carol=join invite-takes-50=join"),
            "@carol:h",
            "h",
            Err(JoinNotAuthorised),
        );
        restricted(
            &with("bob=join"),
            "bob",
            "h",
            Err(AuthorisingServerNotSigned),
        );
    }
    // The signature is asked for even where nobody needs to authorise.
    restricted("public", "@bob:h", "other", Err(AuthorisingServerNotSigned));
    restricted("public", "@bob:h", "h", Ok(()));
    restricted("invite bob=join", "@bob:h", "h", Err(JoinRule));
}

#[test]
fn creators_may_authorise_restricted_joins() {
    for version in RoomVersion::ALL {
        let mut room = Room::new(version, "restricted");
        room.levels(&json!({"invite": 50}));
        let content =
            json!({"membership": "join", "join_authorised_via_users_server": "@creator:h"});
        let result = room.check(&room.event("alice", "m.room.member", Some("@alice:h"), &content));
        let expected = if version == RoomVersion::V12 {
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
        let join = |sender: &str, prev_events: Vec<_>| {
            let content = json!({"membership": "join"});
            let mut join = room.builder(
                sender,
                "m.room.member",
                Some(user(sender).as_str()),
                &content,
            );
            join.prev_events = prev_events;
            room.check(&crate::support::sign(join, version))
        };
        let create = || room.create.event_id().to_owned();
        assert_eq!(join("creator", vec![create()]), Ok(()));
        assert_eq!(join("creator", vec![]), Err(JoinRule));
        assert_eq!(
            join("creator", vec![create(), event_id('x')]),
            Err(JoinRule)
        );
        assert_eq!(join("creator", vec![event_id('x')]), Err(JoinRule));
        assert_eq!(join("alice", vec![create()]), Err(JoinRule));
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
    member("alice=join bob=knock", "alice invite bob", Ok(()));
    member("alice=join", "alice invite alice", Err(TargetJoined));
}

#[test]
fn leave_oneself() {
    member("alice=join", "alice leave", Ok(()));
    member("alice=invite", "alice leave", Ok(()));
    member("alice=knock", "alice leave", Ok(()));
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

/// The creator has 100 by default, or by the power levels; in version 12 more than any level, whatever they say.
#[test]
fn power_of_creators() {
    for (description, action, in_v11, in_v12) in [
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
        for (version, expected) in [(RoomVersion::V11, in_v11), (RoomVersion::V12, in_v12)] {
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
    member("knock", "alice knock", Ok(()));
    member("knock", "alice knock bob", Err(SenderNotTarget));
    member("knock alice=ban", "alice knock", Err(CannotKnock));
    member("knock alice=join", "alice knock", Err(CannotKnock));
    member("invite", "alice knock", Err(KnockRule));
    member("", "alice knock", Err(KnockRule));
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
            (
                Some("@alice:h"),
                json!({"membership": "join", "join_authorised_via_users_server": 1}),
                AuthorisingServerNotSigned,
            ),
        ] {
            let event = room.event("alice", "m.room.member", state_key, &content);
            assert_eq!(room.check(&event), Err(expected), "{state_key:?} {content}");
        }
    }
}
