//! Rooms in which it is plain what should come out, and how the versions of state resolution differ.

use serde_json::{Value, json};
use starling_events::{RoomVersion, room_version::StateResolution};
use starling_testkit::forks::Draft;

use super::resolution_story::{Story, member, user};

const POWER: &str = "m.room.power_levels";
const TOPIC: &str = "m.room.topic";

fn since_version_2() -> impl Iterator<Item = RoomVersion> {
    RoomVersion::ALL
        .into_iter()
        .filter(|version| version.rules().state_resolution != StateResolution::V1)
}

/// What is done by somebody who is banned meanwhile doesn't count, though it was done later.
#[test]
fn ban_against_what_the_banned_do() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[("bob", 50)]);
        let first = story.topic(&mut one, "ann", "first");
        let mut other = one.clone();
        story.member(&mut one, "ann ban bob");
        story.topic(&mut other, "bob", "second");
        story.member(&mut other, "bob join");
        assert_eq!(story.membership(&[&one, &other], "bob"), "ban", "{version}");
        assert_eq!(
            story.resolved(&[&one, &other], TOPIC, ""),
            Some(first),
            "{version}"
        );
    }
}

/// The same of somebody who goes on from a point before the ban, whatever the time that they state.
#[test]
fn ban_against_a_lying_clock() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[("bob", 0)]);
        let mut other = one.clone();
        story.member(&mut one, "ann ban bob");
        story.send_at(&mut other, 0, member("bob join"));
        let levels = json!({ "users": { user("ann"): 100 }, "users_default": 100 });
        let before = other.state.clone();
        let draft = Draft::state(&user("bob"), POWER, "", levels);
        story.send_citing(&mut other, &before, 0, draft);
        let merged = [&one, &other];
        assert_eq!(story.membership(&merged, "bob"), "ban", "{version}");
        assert_eq!(
            story.resolved(&merged, POWER, ""),
            one.state.get(&story.room.key(POWER, "").unwrap()).copied()
        );
    }
}

/// Who is demoted on one branch can't use the power on another.
#[test]
fn demotion_against_use_of_power() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[("bob", 50), ("cleo", 0)]);
        let mut other = one.clone();
        let demotion = if version.rules().privileged_creators {
            story.levels(&mut one, "ann", &[("cleo", 0)])
        } else {
            story.levels(&mut one, "ann", &[("ann", 100), ("cleo", 0)])
        };
        story.member(&mut other, "bob leave cleo");
        story.topic(&mut other, "bob", "mine");
        let merged = [&one, &other];
        assert_eq!(
            story.resolved(&merged, POWER, ""),
            Some(demotion),
            "{version}"
        );
        assert_eq!(story.membership(&merged, "cleo"), "join", "{version}");
        assert_eq!(story.resolved(&merged, TOPIC, ""), None, "{version}");
    }
}

/// Who joins while the room is being closed stays out; of two who joined before, both stay in. In version 1 an event that
/// only some states have is no conflict: who joined is in.
#[test]
fn joins_while_the_room_is_closed() {
    for version in RoomVersion::ALL {
        let (mut story, mut one) = Story::with(version, &[("bob", 0)]);
        let mut other = one.clone();
        story.state(
            &mut one,
            "ann",
            "m.room.join_rules",
            json!({ "join_rule": "invite" }),
        );
        story.member(&mut other, "cleo join");
        story.member(&mut other, "bob join");
        let is_first = version.rules().state_resolution == StateResolution::V1;
        let merged = [&one, &other];
        assert_eq!(
            story.membership(&merged, "cleo"),
            if is_first { "join" } else { "none" },
            "{version}"
        );
        assert_eq!(story.membership(&merged, "bob"), "join", "{version}");
    }
}

/// Both join at once: no conflict worth the name.
#[test]
fn two_who_join_at_once() {
    for version in RoomVersion::ALL {
        let (mut story, mut one) = Story::with(version, &[]);
        let mut other = one.clone();
        story.member(&mut one, "bob join");
        story.member(&mut other, "cleo join");
        assert_eq!(story.membership(&[&one, &other], "bob"), "join");
        assert_eq!(story.membership(&[&one, &other], "cleo"), "join");
    }
}

/// Of two topics under the same power levels, the later one stays; in version 1 the deeper one.
#[test]
fn topics_by_time() {
    for version in RoomVersion::ALL {
        let (mut story, mut one) = Story::with(version, &[]);
        let mut other = one.clone();
        story.topic(&mut one, "ann", "1");
        story.topic(&mut one, "ann", "2");
        let deeper = story.topic(&mut one, "ann", "3");
        let later = story.topic(&mut other, "ann", "4");
        let is_first = version.rules().state_resolution == StateResolution::V1;
        let expected = if is_first { deeper } else { later };
        assert_eq!(
            story.resolved(&[&one, &other], TOPIC, ""),
            Some(expected),
            "{version}"
        );
    }
}

/// Of two topics, the one under newer power levels stays, whatever the time.
#[test]
fn topics_by_power_levels() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[]);
        let mut other = one.clone();
        let ann: &[_] = if version.rules().privileged_creators {
            &[]
        } else {
            &[("ann", 100)]
        };
        story.levels(&mut one, "ann", &[&[("bob", 50)], ann].concat());
        let newer_levels = story.topic(&mut one, "ann", "1");
        story.topic(&mut other, "ann", "2");
        // In version 12 resolution starts from nothing, so the levels count only if they are conflicted: they are.
        assert_eq!(
            story.resolved(&[&one, &other], TOPIC, ""),
            Some(newer_levels),
            "{version}"
        );
    }
}

/// Events of the same time are ordered by their ids.
#[test]
fn topics_of_the_same_time() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[]);
        let mut other = one.clone();
        let topic = |text| Draft::state(&user("ann"), TOPIC, "", json!({ "topic": text }));
        let first = story.send_at(&mut one, 9, topic("1"));
        let second = story.send_at(&mut other, 9, topic("2"));
        let last = [first, second]
            .into_iter()
            .max_by_key(|num| story.room.get(*num).pdu.event_id().to_owned());
        assert_eq!(
            story.resolved(&[&one, &other], TOPIC, ""),
            last,
            "{version}"
        );
    }
}

/// Who made the rules has left, and two servers differ about them. Version 2 checks the rules against a room that `ann`
/// has left, and ends without any; version 2.1 starts from nothing, so that each is checked against what it cites.
#[test]
fn rules_of_one_who_left() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[("bob", 100)]);
        let rules = |rule| json!({ "join_rule": rule });
        let mut other = one.clone();
        let newer = story.state(&mut one, "ann", "m.room.join_rules", rules("invite"));
        story.member(&mut one, "ann leave");
        // The other server has learned that ann left, and not of the rules.
        let ann = story
            .room
            .key("m.room.member", user("ann").as_str())
            .unwrap();
        other.state.insert(ann, one.state[&ann]);
        let starts_from_nothing = version.rules().state_resolution == StateResolution::V2_1;
        let resolved = story.resolved(&[&one, &other], "m.room.join_rules", "");
        assert_eq!(resolved, starts_from_nothing.then_some(newer), "{version}");
    }
}

/// One server still has the first power levels, another has those that `bob` made by the power that second ones gave him.
/// The second ones are in everybody's auth chains and so not conflicted: version 2 finds that bob has no power and goes
/// back to the first. Version 2.1 takes what is between conflicted events too.
#[test]
fn levels_between_conflicted_levels() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[("bob", 0)]);
        let ann: &[_] = if version.rules().privileged_creators {
            &[]
        } else {
            &[("ann", 100)]
        };
        let power = story.room.key(POWER, "").unwrap();
        let first = one.state[&power];
        story.levels(&mut one, "ann", &[&[("bob", 100)], ann].concat());
        // A topic that everybody has: it leads all auth chains to the second levels.
        story.topic(&mut one, "ann", "of all");
        let mut other = one.clone();
        let third = story.levels(
            &mut one,
            "bob",
            &[&[("bob", 100), ("cleo", 50)], ann].concat(),
        );
        other.state.insert(power, first);
        let has_subgraph = version.rules().state_resolution == StateResolution::V2_1;
        let expected = if has_subgraph { third } else { first };
        assert_eq!(
            story.resolved(&[&one, &other], POWER, ""),
            Some(expected),
            "{version}"
        );
    }
}

/// Nobody is before the creator of a room of version 12; before, who has as much power and is earlier wins.
#[test]
fn creator_against_admin() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[("bob", 100), ("cleo", 0)]);
        let mut other = one.clone();
        let ann: &[_] = if version.rules().privileged_creators {
            &[]
        } else {
            &[("ann", 100)]
        };
        let bobs = story.levels(
            &mut one,
            "bob",
            &[&[("bob", 100), ("cleo", 100)], ann].concat(),
        );
        story.member(&mut one, "bob ban dora");
        let anns = if version.rules().privileged_creators {
            story.levels(&mut other, "ann", &[("cleo", 0)])
        } else {
            // As powerful as she is, ann can't demote bob, but may raise what banning takes.
            let users = json!({ user("ann"): 100, user("bob"): 100 });
            story.state(
                &mut other,
                "ann",
                POWER,
                json!({ "users": users, "ban": 100 }),
            )
        };
        let is_creators = version.rules().privileged_creators;
        let merged = [&one, &other];
        let expected = if is_creators { anns } else { bobs };
        assert_eq!(
            story.resolved(&merged, POWER, ""),
            Some(expected),
            "{version}"
        );
        let expected = if is_creators { "none" } else { "ban" };
        assert_eq!(story.membership(&merged, "dora"), expected, "{version}");
    }
}

/// An old event that only some conflicted events cite can be in all auth chains by way of what all states have: bob's
/// join cites the first levels, so they are not in the auth difference, and bob's power by them is gone.
#[test]
fn auth_chains_by_way_of_unconflicted_events() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::with(version, &[("bob", 50)]);
        // New levels that don't cite the first.
        let mut without_levels = one.state.clone();
        without_levels.remove(&story.room.key(POWER, "").unwrap());
        let mut other = one.clone();
        let mut third = one.clone();
        story.topic(&mut one, "bob", "1");
        let later = story.topic(&mut other, "bob", "2");
        let levels = if version.rules().privileged_creators {
            json!({})
        } else {
            json!({ "users": { user("ann"): 100 } })
        };
        let draft = Draft::state(&user("ann"), POWER, "", levels);
        let power = story.send_citing(&mut third, &without_levels, 9, draft);
        for branch in [&mut one, &mut other] {
            branch
                .state
                .insert(story.room.key(POWER, "").unwrap(), power);
        }
        // Version 2.1 starts from nothing: each topic is checked against the levels that it cites.
        let starts_from_nothing = version.rules().state_resolution == StateResolution::V2_1;
        let resolved = story.resolved(&[&one, &third, &other], TOPIC, "");
        assert_eq!(resolved, starts_from_nothing.then_some(later), "{version}");
    }
}

/// The same by way of a conflicted event that is in all auth chains. The first levels lie about their time: were they
/// conflicted, they would come last.
#[test]
fn auth_chains_by_way_of_conflicted_events() {
    for version in since_version_2() {
        let (mut story, mut one) = Story::new(version);
        let ann: &[_] = if version.rules().privileged_creators {
            &[]
        } else {
            &[("ann", 100)]
        };
        let users: Value = ann
            .iter()
            .map(|(name, level)| (user(name).to_string(), json!(level)))
            .collect();
        let first = Draft::state(&user("ann"), POWER, "", json!({ "users": users }));
        story.send_at(&mut one, 100, first);
        let mut other = one.clone();
        let rules = |rule| json!({ "join_rule": rule });
        story.state(&mut one, "ann", "m.room.join_rules", rules("invite"));
        for level in [10, 20] {
            let power = story.levels(&mut other, "ann", &[&[("bob", level)], ann].concat());
            one.state.insert(story.room.key(POWER, "").unwrap(), power);
        }
        let last = story.levels(&mut one, "ann", &[&[("bob", 30)], ann].concat());
        let public = story.state(&mut other, "ann", "m.room.join_rules", rules("public"));
        let merged = [&one, &other];
        assert_eq!(story.resolved(&merged, POWER, ""), Some(last), "{version}");
        assert_eq!(
            story.resolved(&merged, "m.room.join_rules", ""),
            Some(public),
            "{version}"
        );
    }
}

/// Version 1 takes the first of the conflicting levels unchecked, and each later one if it is allowed then.
#[test]
fn levels_in_version_1() {
    let (mut story, mut one) = Story::with(RoomVersion::V1, &[("bob", 50)]);
    let mut other = one.clone();
    let demotion = story.levels(&mut one, "ann", &[("ann", 100)]);
    // Deeper, and by somebody who has no power after the demotion.
    story.topic(&mut other, "bob", "1");
    let users = [("ann", 100), ("bob", 50), ("cleo", 50)];
    let promotion = story.levels(&mut other, "bob", &users);
    let merged = [&one, &other];
    assert_eq!(story.resolved(&merged, POWER, ""), Some(demotion));
    // By ann it is allowed.
    let anns = story.levels(&mut other, "ann", &users);
    assert_ne!(anns, promotion);
    assert_eq!(story.resolved(&[&one, &other], POWER, ""), Some(anns));
}

/// In version 1 the deepest topic that is allowed stays, or none.
#[test]
fn topics_in_version_1() {
    let (mut story, mut one) = Story::with(RoomVersion::V1, &[("bob", 50), ("cleo", 50)]);
    let mut other = one.clone();
    let allowed = story.topic(&mut one, "ann", "1");
    story.topic(&mut other, "cleo", "2");
    story.topic(&mut other, "bob", "3");
    story.levels(&mut one, "ann", &[("ann", 100)]);
    let power = story.room.key(POWER, "").unwrap();
    other.state.insert(power, one.state[&power]);
    assert_eq!(story.resolved(&[&one, &other], TOPIC, ""), Some(allowed));
    let mut third = one.clone();
    let topic = story.room.key(TOPIC, "").unwrap();
    third.state.remove(&topic);
    // Only one state has it: no conflict, so nobody asks whether it is allowed.
    assert_eq!(
        story.resolved(&[&other, &third], TOPIC, ""),
        other.state.get(&topic).copied()
    );
}
