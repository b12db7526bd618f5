//! Where the implementation that we compare with reads the text otherwise: a room for each, and why the text wins. The
//! random rooms count such cases apart, so the list in `resolution` is complete.

use serde_json::json;
use starling_events::RoomVersion;
use starling_stateres::resolution::EventNum;
use starling_testkit::forks::{Draft, ForkedRoom};

use super::model::{Deviation, Model, named};
use super::oracle;
use super::resolution::ours;
use super::resolution_story::{Branch, Story, member, user};

const POWER: &str = "m.room.power_levels";
const TOPIC: &str = "m.room.topic";

/// Checks that the oracle's result is another than ours, and that of this deviation.
#[track_caller]
fn check_deviation(story: Story, branches: [&Branch; 2], deviation: Deviation) -> Difference {
    let forked = ForkedRoom {
        room: story.room,
        states: branches.iter().map(|branch| branch.state.clone()).collect(),
    };
    let states = named(&forked.room, &forked.states);
    let text = Model::new(&forked.room, &[]).resolve(&states);
    let deviating = Model::new(&forked.room, &[deviation]).resolve(&states);
    let oracles = oracle::resolve(&forked.room, &Model::new(&forked.room, &[]), &states).unwrap();
    assert_eq!(ours(&forked), text);
    assert_eq!(oracles, deviating);
    assert_ne!(oracles, text);
    let find = |state: &super::model::StateMap<'_>, key| {
        let id = *state.get(&key)?;
        let id = <&ruma_common::EventId>::try_from(id).unwrap();
        forked.room.by_id(id).map(|event| event.num)
    };
    let keys = text.keys().chain(oracles.keys()).copied();
    let differing = keys.filter(|key| text.get(key) != oracles.get(key));
    Difference(
        differing
            .map(|key| (find(&text, key), find(&oracles, key)))
            .collect(),
    )
}

/// Our events and the oracle's where they differ.
#[derive(Debug, PartialEq)]
struct Difference(std::collections::BTreeSet<(Option<EventNum>, Option<EventNum>)>);

fn difference(ours: Option<EventNum>, oracles: Option<EventNum>) -> Difference {
    Difference([(ours, oracles)].into())
}

/// "A power event is a state event with type `m.room.power_levels` or `m.room.join_rules`": the text asks for no state
/// key. So rules at another state key take their turn among the power events, here before bob gives his power away.
#[test]
fn power_events_with_any_state_key() {
    for version in [RoomVersion::V2, RoomVersion::V11, RoomVersion::V12] {
        let (mut story, mut one) = Story::with(version, &[("bob", 50)]);
        let mut other = one.clone();
        let content = json!({ "join_rule": "public" });
        let odd = story.send(
            &mut one,
            Draft::state(&user("bob"), "m.room.join_rules", "odd", content),
        );
        let ann: &[_] = if version.rules().privileged_creators {
            &[]
        } else {
            &[("ann", 100)]
        };
        story.levels(&mut other, "bob", &[&[("bob", 0)], ann].concat());
        let found = check_deviation(story, [&one, &other], Deviation::OnlyEmptyStateKeys);
        assert_eq!(found, difference(Some(odd), None), "{version}");
    }
}

/// "Enlarge X by adding the events in the auth chain of P which also belong to the full conflicted set": the auth chain
/// is the whole one, also where it leaves the set and comes back. Here the way from the ban to bob's first join leads over
/// the second power levels, which all auth chains have.
#[test]
fn auth_chains_that_leave_the_full_conflicted_set() {
    let (mut story, mut one) = Story::with(RoomVersion::V11, &[("cleo", 50), ("dora", 0)]);
    let at_first = one.clone();
    story.send_at(&mut one, 100, member("bob join"));
    let joined = one.state.clone();
    story.levels(&mut one, "ann", &[("ann", 100), ("bob", 100), ("cleo", 50)]);
    story.levels(
        &mut one,
        "bob",
        &[("ann", 100), ("bob", 100), ("cleo", 50), ("eve", 1)],
    );
    let second = one.state.clone();
    // Everybody has the last levels, which cite bob's.
    story.levels(&mut one, "ann", &[("ann", 100), ("bob", 100), ("cleo", 50)]);
    let mut other = one.clone();
    // Bob leaves by the first levels, with a time before his join.
    let mut cited = joined;
    let power = story.room.key(POWER, "").unwrap();
    cited.insert(power, at_first.state[&power]);
    let leave = story.send_citing(&mut other, &cited, 50, member("bob leave"));
    let mut banning = other.clone();
    story.send_citing(&mut banning, &second, 60, member("cleo ban dora"));
    let bob = story
        .room
        .key("m.room.member", user("bob").as_str())
        .unwrap();
    let join = one.state[&bob];
    let found = check_deviation(story, [&one, &banning], Deviation::PathsStayInside);
    assert_eq!(found, difference(Some(leave), Some(join)));
}

/// "If a key that is required for checking the authorisation rules is not present in the state, then the appropriate
/// state event from the event's `auth_events` is used if the auth event is not rejected": bob's demotion, which this
/// server had rejected, is present in the state, as rejected events "are handled as usual by the algorithm".
#[test]
fn rejected_events_in_the_state() {
    for version in [RoomVersion::V2, RoomVersion::V11, RoomVersion::V12] {
        let (mut story, mut one) = Story::with(version, &[("bob", 50)]);
        let mut other = one.clone();
        let ann: &[_] = if version.rules().privileged_creators {
            &[]
        } else {
            &[("ann", 100)]
        };
        let demotion = story.levels(&mut one, "ann", &[&[("bob", 0)], ann].concat());
        story.room.reject(demotion);
        let topic = story.topic(&mut other, "bob", "1");
        let found = check_deviation(story, [&one, &other], Deviation::RejectedStateIsUnused);
        assert_eq!(found, difference(None, Some(topic)), "{version}");
    }
}

/// A room without join rules is one for who is invited. The oracle's authorization rules let nobody join there.
#[test]
fn joins_without_join_rules() {
    for version in [RoomVersion::V2, RoomVersion::V11, RoomVersion::V12] {
        let (mut story, mut one) = Story::new(version);
        story.member(&mut one, "ann invite bob");
        let mut other = one.clone();
        let join = story.member(&mut other, "bob join");
        let bob = story
            .room
            .key("m.room.member", user("bob").as_str())
            .unwrap();
        let invite = one.state[&bob];
        let found = check_deviation(story, [&one, &other], Deviation::NoJoinWithoutJoinRules);
        assert_eq!(found, difference(Some(join), Some(invite)), "{version}");
    }
}

/// Levels with a fraction are no reason to fail: rooms of the first versions have them, and their power is that without
/// the fraction.
#[test]
fn levels_with_a_fraction() {
    let (mut story, mut one) = Story::with(RoomVersion::V5, &[("bob", 50)]);
    let users = json!({ user("ann"): 100, user("bob"): 50.25 });
    story.state(&mut one, "ann", POWER, json!({ "users": users }));
    let mut other = one.clone();
    let topic = story.topic(&mut other, "bob", "1");
    story.member(&mut one, "ann ban cleo");
    assert_eq!(story.resolved(&[&one, &other], TOPIC, ""), Some(topic));
    let states = named(&story.room, &[one.state, other.state]);
    let oracles = oracle::resolve(&story.room, &Model::new(&story.room, &[]), &states);
    assert!(oracles.unwrap_err().to_string().contains("floating point"));
}
