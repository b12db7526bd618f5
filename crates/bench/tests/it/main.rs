//! What is measured gives the same results in each implementation, and the rooms are as they should be.
#![cfg(test)]

mod encryption;
mod floor;
mod resident;
mod servers;

use std::time::Duration;

use starling_bench::{
    events,
    room::Room,
    state_resolution::{Sample, Size, agree},
    timing::Repeat,
};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::{AuthState, check, check_auth_events};

fn size(version: RoomVersion, forks: usize, conflicted: usize) -> Size {
    Size {
        version,
        members: 250,
        forks,
        conflicted,
    }
}

#[test]
fn all_ways_give_the_same_state() {
    for version in [RoomVersion::V11, RoomVersion::V12] {
        for (seed, forks, conflicted) in [(1, 2, 10), (2, 2, 100), (3, 5, 40)] {
            let sample = Sample::new(size(version, forks, conflicted), seed);
            assert_eq!(sample.conflicted(), conflicted);
            agree(&sample).unwrap();
        }
    }
}

#[test]
fn events_are_the_same() {
    let once = Repeat {
        least: 1,
        most: 1,
        budget: Duration::ZERO,
    };
    events::measure_all(once).unwrap();
}

/// The state that an event's auth events make.
pub(crate) struct Cited<'a>(pub(crate) Vec<&'a Pdu>);

impl AuthState for Cited<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        let at_key = |event: &&&Pdu| event.kind() == kind && event.state_key() == Some(state_key);
        self.0.iter().find(at_key).copied()
    }
}

#[test]
fn every_event_is_allowed() {
    for version in [RoomVersion::V11, RoomVersion::V12] {
        let sample = Sample::new(size(version, 3, 60), 4);
        check_room(sample.room());
    }
}

fn check_room(room: &Room) {
    let create: &Pdu = &room.events()[0].pdu;
    for event in room.events() {
        let cited = event
            .auth_events
            .iter()
            .map(|&cited| room.event(cited).unwrap());
        let mut cited = Cited(cited.map(|cited| &*cited.pdu).collect());
        let pdu: &Pdu = &event.pdu;
        assert_eq!(check_auth_events(room.version(), pdu, &cited.0), Ok(()));
        if !room.version().rules().create_in_auth_events && pdu.kind() != "m.room.create" {
            cited.0.push(create);
        }
        assert_eq!(check(room.version(), pdu, &cited), Ok(()), "{pdu:?}");
    }
}
