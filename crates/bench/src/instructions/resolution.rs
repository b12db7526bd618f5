//! One state resolution.

use starling_events::RoomVersion;

use crate::state_resolution::{Sample, Size};

const SIZE: Size = Size {
    version: RoomVersion::V12,
    members: 1000,
    forks: 2,
    conflicted: 200,
};
const SEED: u64 = 1;

pub(super) fn run(count: u64) {
    let sample = Sample::new(SIZE, SEED);
    assert_eq!(sample.conflicted(), SIZE.conflicted);
    for _ in 0..=count {
        std::hint::black_box(sample.resolution());
    }
}
