//! In which room versions each difference between their authorization rules holds.

use std::ops::RangeInclusive;

use serde_json::json;
use starling_events::{EventReference, Pdu, RoomVersion, SigningKey};
use starling_stateres::{
    AuthError::{self, *},
    PowerLevelsError::{NotAnInteger, NotAnObjectOfIntegers},
    check_auth_events,
};

use crate::support::{Room, create_event, numbered_versions, sign, with_creator};

/// Every version up to the newest.
const NEWEST: usize = RoomVersion::ALL.len();

/// What the rules say is `Ok` in these versions, and this error in all others.
#[track_caller]
fn allowed_in(
    versions: RangeInclusive<usize>,
    otherwise: AuthError,
    verdict: impl Fn(RoomVersion) -> Result<(), AuthError>,
) {
    for (number, version) in numbered_versions() {
        let expected = if versions.contains(&number) {
            Ok(())
        } else {
            Err(otherwise)
        };
        assert_eq!(verdict(version), expected, "version {version}");
    }
}

/// What the rules say to a member event in a room, as in [`Room::new`] and [`Room::action`].
#[track_caller]
fn action_in(
    versions: RangeInclusive<usize>,
    otherwise: AuthError,
    description: &str,
    action: &str,
) {
    allowed_in(versions, otherwise, |version| {
        let room = Room::new(version, description);
        room.check(&room.action(action))
    });
}

/// What the rules say when alice, of level 100, changes the power levels to this; `USERS` are those that there are.
#[track_caller]
fn levels_in(versions: RangeInclusive<usize>, otherwise: AuthError, content: &str) {
    allowed_in(versions, otherwise, |version| {
        let mut room = Room::new(version, "alice=join:100");
        let levels = json!({"users": {"@alice:h": 100}});
        room.levels(&levels);
        let content = content.replace("USERS", &levels["users"].to_string());
        room.check(&room.received("alice", "m.room.power_levels", Some(""), &content))
    });
}

#[test]
fn aliases() {
    allowed_in(1..=5, SenderNotJoined, |version| {
        let room = Room::new(version, "");
        room.check(&room.event("alice", "m.room.aliases", Some("h"), &json!({})))
    });
    allowed_in(6..=NEWEST, AliasesOfOtherServer, |version| {
        let room = Room::new(version, "alice=join:50");
        room.check(&room.event("alice", "m.room.aliases", Some("other"), &json!({})))
    });
}

#[test]
fn redactions() {
    allowed_in(3..=NEWEST, RedactLevel, |version| {
        let room = Room::new(version, "alice=join");
        room.check(&room.event("alice", "m.room.redaction", None, &json!({})))
    });
}

#[test]
fn creators() {
    allowed_in(11..=NEWEST, NoCreator, |version| {
        let room = Room::empty(version, &json!({}));
        room.check(&create_event(version, &json!({})))
    });
    let first_join = |version: RoomVersion, sender: &str, user: &str| {
        let room = Room::empty(version, &json!({"creator": "@alice:h"}));
        let content = json!({"membership": "join"});
        let mut join = room.builder(sender, "m.room.member", Some(user), &content);
        join.prev_events = vec![EventReference::of(&room.create)];
        room.check(&sign(join, version))
    };
    allowed_in(1..=10, JoinRule, |version| {
        first_join(version, "alice", "@alice:h")
    });
    allowed_in(11..=NEWEST, JoinRule, |version| {
        first_join(version, "creator", "@creator:h")
    });
}

#[test]
fn privileged_creators() {
    allowed_in(1..=11, InvalidAdditionalCreators, |version| {
        let content = with_creator(version, &json!({"additional_creators": ["alice"]}));
        let room = Room::empty(version, &json!({}));
        room.check(&create_event(version, &content))
    });
    action_in(12..=NEWEST, BanLevel, "alice=join:100", "creator ban alice");
    // Alone, and among others.
    for users in [0, 5] {
        allowed_in(1..=11, PowerLevelsNameCreator, |version| {
            let room = Room::new(version, "");
            let mut levels = json!({"users": {"@creator:h": 100}});
            for user in 0..users {
                levels["users"][format!("@user{user}:h")] = json!(0);
            }
            room.check(&room.event("creator", "m.room.power_levels", Some(""), &levels))
        });
    }
}

#[test]
fn notifications() {
    let refused = PowerLevelsChange("notifications");
    levels_in(
        1..=5,
        refused,
        r#"{"users":USERS,"notifications":{"room":101}}"#,
    );
    let malformed = PowerLevels(NotAnObjectOfIntegers("notifications"));
    levels_in(1..=5, malformed, r#"{"users":USERS,"notifications":[]}"#);
    levels_in(
        1..=NEWEST,
        refused,
        r#"{"users":USERS,"notifications":{"room":100}}"#,
    );
}

#[test]
fn forms_of_levels() {
    levels_in(1..=NEWEST, EventLevel, r#"{"users":USERS,"ban":60}"#);
    levels_in(
        1..=9,
        PowerLevels(NotAnInteger("ban")),
        r#"{"users":USERS,"ban":" +060"}"#,
    );
    // Later versions' events can't even consist of them.
    for (_, version) in numbered_versions().take_while(|(number, _)| *number <= 5) {
        let room = Room::new(version, "");
        for (level, expected) in [
            ("99.9", Ok(())),
            ("1e500", Err(PowerLevels(NotAnInteger("ban")))),
        ] {
            let content = format!(r#"{{"ban":{level}}}"#);
            let event = stored(&room, &content);
            assert_eq!(room.check(&event), expected, "version {version}: {level}");
        }
    }
}

/// Power levels of the creator's with this content, as if they were stored.
fn stored(room: &Room, content: &str) -> Pdu {
    let event = room.event("creator", "m.room.power_levels", Some(""), &json!({"a": 0}));
    let json = String::from_utf8(event.json().to_vec()).unwrap();
    let json = json.replace(r#"{"a":0}"#, content).into_bytes();
    Pdu::from_stored(room.version, event.event_id().to_owned(), json.into()).unwrap()
}

#[test]
fn knocking() {
    action_in(7..=NEWEST, UnknownMembership, "knock", "alice knock");
    action_in(7..=NEWEST, JoinRule, "knock alice=invite", "alice join");
    action_in(7..=NEWEST, NothingToLeave, "alice=knock", "alice leave");
    action_in(
        1..=NEWEST,
        TargetJoined,
        "alice=knock",
        "creator invite alice",
    );
}

/// Alice, of the server `other`, joins; bob, of `h`, authorises that.
fn restricted_join(version: RoomVersion, rule: &str, signed_by: &str) -> Result<(), AuthError> {
    let room = Room::new(version, &format!("{rule} bob=join"));
    let content = json!({"membership": "join", "join_authorised_via_users_server": "@bob:h"});
    let alice = Some("@alice:other");
    let join = room.builder("alice/other", "m.room.member", alice, &content);
    let key = SigningKey::generate([1; 32], "1").unwrap();
    let join = join.build(version, signed_by.try_into().unwrap(), &key);
    room.check(&join.unwrap())
}

#[test]
fn restricted_joins() {
    allowed_in(8..=NEWEST, JoinRule, |version| {
        restricted_join(version, "restricted", "h")
    });
    allowed_in(1..=7, AuthorisingServerNotSigned, |version| {
        restricted_join(version, "public", "other")
    });
    action_in(
        8..=NEWEST,
        JoinRule,
        "restricted alice=invite",
        "alice join",
    );
    allowed_in(8..=NEWEST, UnexpectedAuthEvent, |version| {
        let room = Room::new(version, "restricted bob=join");
        let content = json!({"membership": "join", "join_authorised_via_users_server": "@bob:h"});
        let join = room.event("alice", "m.room.member", Some("@alice:h"), &content);
        let bob = &room.state[&("m.room.member".to_owned(), "@bob:h".to_owned())];
        let create = version
            .rules()
            .create_in_auth_events
            .then_some(&room.create);
        let auth_events: Vec<&Pdu> = create.into_iter().chain([bob]).collect();
        check_auth_events(version, &join, &auth_events)
    });
}

#[test]
fn knock_restricted() {
    allowed_in(10..=NEWEST, JoinRule, |version| {
        restricted_join(version, "knock_restricted", "h")
    });
    let (knock, join) = ("knock_restricted", "knock_restricted alice=invite");
    action_in(10..=NEWEST, JoinRule, join, "alice join");
    for (number, version) in numbered_versions() {
        let room = Room::new(version, knock);
        let expected = match number {
            1..=6 => Err(UnknownMembership),
            7..=9 => Err(KnockRule),
            _ => Ok(()),
        };
        assert_eq!(
            room.check(&room.action("alice knock")),
            expected,
            "version {version}"
        );
    }
}

#[test]
fn create_among_auth_events() {
    let message = |version: RoomVersion, with_create: bool| {
        let room = Room::new(version, "");
        let message = room.event("creator", "m", None, &json!({}));
        let create = with_create.then_some(&room.create);
        let auth_events: Vec<&Pdu> = create.into_iter().collect();
        check_auth_events(version, &message, &auth_events)
    };
    allowed_in(1..=11, UnexpectedAuthEvent, |version| {
        message(version, true)
    });
    allowed_in(12..=NEWEST, NoCreateAmongAuthEvents, |version| {
        message(version, false)
    });
}
