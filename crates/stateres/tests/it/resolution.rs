//! State resolution of random rooms: against the reference model, and against an independent implementation.
//!
//! One test for each room version, so that they run side by side. `SEEDS` (10) says how many seeds there are, each of
//! which makes [`ROOMS`] rooms in each version.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;
use starling_events::{RoomVersion, room_version::StateResolution};
use starling_testkit::{forks::ForkedRoom, seeds};

use super::model::{Deviation, Model, StateMap, named};
use super::oracle;

/// Rooms for each seed and version.
const ROOMS: u64 = 200;

/// In which ways the oracle reads the text otherwise. `resolution_deviations` has a room for each.
pub(crate) const OF_ORACLE: [Deviation; 4] = [
    Deviation::OnlyEmptyStateKeys,
    Deviation::PathsStayInside,
    Deviation::RejectedStateIsUnused,
    Deviation::NoJoinWithoutJoinRules,
];

/// The rooms that a test of `share` percent of the usual cases tries.
pub(crate) fn random_rooms(
    version: RoomVersion,
    share: u64,
) -> impl Iterator<Item = (u64, ForkedRoom)> {
    let rooms = (ROOMS * share).div_ceil(100);
    seeds(10).flat_map(move |seed| {
        (0..rooms).map(move |index| {
            let seed = (seed * ROOMS + index) * 100 + version as u64;
            (seed, ForkedRoom::random(version, seed))
        })
    })
}

pub(crate) fn ours(forked: &ForkedRoom) -> StateMap<'_> {
    let state = ForkedRoom::resolved(&forked.room, &forked.states);
    named(&forked.room, &[state]).remove(0)
}

#[derive(Debug, Default)]
struct Counts {
    rooms: usize,
    /// Rooms whose states differ.
    with_conflicts: usize,
    events: usize,
    as_oracle: usize,
    /// Rooms that the oracle has no types for.
    beyond_oracle: usize,
    /// Rooms where the oracle's result is another, by what suffices to make it so.
    deviations: BTreeMap<Deviation, usize>,
    /// Rooms where it takes several deviations together.
    several_deviations: usize,
    /// Rooms that resolve otherwise if the auth chains of a state have its own events.
    other_with_own_events: usize,
}

fn compare(version: RoomVersion) {
    let mut counts = Counts::default();
    for (seed, forked) in random_rooms(version, 100) {
        let states = named(&forked.room, &forked.states);
        let resolve =
            |deviations: &[Deviation]| Model::new(&forked.room, deviations).resolve(&states);
        let expected = resolve(&[]);
        assert_eq!(ours(&forked), expected, "version {version}, seed {seed}");
        counts.rooms += 1;
        counts.with_conflicts += usize::from(states.iter().any(|state| *state != states[0]));
        counts.events += forked.room.events().count();
        if version.rules().state_resolution != StateResolution::V1 {
            compare_with_oracle(&forked, seed, &expected, &mut counts);
            let other = resolve(&[Deviation::ChainsIncludeState]) != expected;
            counts.other_with_own_events += usize::from(other);
        }
    }
    // Written past the capture of tests' output, so that it is seen.
    let seeds = seeds(10).end;
    writeln!(
        io::stdout(),
        "state resolution, version {version}, SEEDS={seeds}: {counts:?}"
    )
    .unwrap();
    assert!(
        counts.with_conflicts * 10 > counts.rooms * 8,
        "too few conflicts"
    );
}

fn compare_with_oracle(
    forked: &ForkedRoom,
    seed: u64,
    expected: &StateMap<'_>,
    counts: &mut Counts,
) {
    if is_beyond_oracle(forked) {
        counts.beyond_oracle += 1;
        return;
    }
    let states = named(&forked.room, &forked.states);
    let resolve = |deviations: &[Deviation]| Model::new(&forked.room, deviations).resolve(&states);
    let oracles = oracle::resolve(&forked.room, &Model::new(&forked.room, &[]), &states).unwrap();
    if oracles == *expected {
        counts.as_oracle += 1;
        return;
    }
    let version = forked.room.version();
    assert_eq!(
        resolve(&OF_ORACLE),
        oracles,
        "version {version}, seed {seed}"
    );
    let mut single = OF_ORACLE
        .into_iter()
        .filter(|deviation| resolve(&[*deviation]) == oracles);
    match single.next() {
        Some(deviation) => *counts.deviations.entry(deviation).or_default() += 1,
        None => counts.several_deviations += 1,
    }
}

/// Whether there are levels with a fraction or times before 1970, which the oracle takes in no version.
fn is_beyond_oracle(forked: &ForkedRoom) -> bool {
    forked.room.events().any(|event| {
        let is_level = event.pdu.kind() == "m.room.power_levels";
        event.pdu.origin_server_ts() < 0
            || is_level && has_fraction(&serde_json::from_slice(event.pdu.content()).unwrap())
    })
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(has_fraction),
        value => value.is_f64(),
    }
}

#[test]
fn version_1() {
    compare(RoomVersion::V1);
}

#[test]
fn version_2() {
    compare(RoomVersion::V2);
}

#[test]
fn version_3() {
    compare(RoomVersion::V3);
}

#[test]
fn version_4() {
    compare(RoomVersion::V4);
}

#[test]
fn version_5() {
    compare(RoomVersion::V5);
}

#[test]
fn version_6() {
    compare(RoomVersion::V6);
}

#[test]
fn version_7() {
    compare(RoomVersion::V7);
}

#[test]
fn version_8() {
    compare(RoomVersion::V8);
}

#[test]
fn version_9() {
    compare(RoomVersion::V9);
}

#[test]
fn version_10() {
    compare(RoomVersion::V10);
}

#[test]
fn version_11() {
    compare(RoomVersion::V11);
}

#[test]
fn version_12() {
    compare(RoomVersion::V12);
}
