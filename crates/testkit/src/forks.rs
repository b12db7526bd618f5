//! Random rooms whose history forks, for every room version, the same for the same seed.
//!
//! [`ForkedRoom::random`] plays a room: a few users of a few servers join, leave, ban each other, change the power levels
//! and argue about the topic, on branches that part, merge in part and part again. Most keep to the rules: their events
//! cite the state of their branch, which allows them. Some don't: they cite state that is gone, or little of it, lie about
//! time and depth, or go on from an old point of the room. All events pass the checks of their auth events, as others
//! never get near a room's state.
//!
//! What comes out is the events under numbers that mean nothing ([`Room`]), and the states at the ends of the branches.
//! Events are neither hashed nor signed, which would take most of the time: their ids are random.
//!
//! For rooms made by hand there are the parts: [`Draft`], [`Place`], [`Room::insert`].

mod dice;
mod draft;
mod hostile;
mod levels;
mod maker;
mod moves;
mod numbering;
mod population;

use starling_events::RoomVersion;
use starling_stateres::resolution::{Resolution, resolve};

use maker::{Branch, Maker};

pub use dice::Dice;
pub use draft::{Draft, Place, random_event_id, room_id};
pub use numbering::{Event, Resolving, Room, State, View};
pub use population::Population;

/// A room, and the states at the ends of its branches.
#[derive(Debug, Clone)]
pub struct ForkedRoom {
    /// The room.
    pub room: Room,
    /// Two to four states.
    pub states: Vec<State>,
}

impl ForkedRoom {
    /// The room of a seed.
    #[must_use]
    pub fn random(version: RoomVersion, seed: u64) -> Self {
        let mut maker = Maker::new(version, seed);
        let mut branches = vec![maker.start()];
        let mut past = branches.clone();
        for round in 0..=maker.dice.below(3) {
            if round > 0 {
                merge(&mut maker, &mut branches);
            }
            fork(&mut maker, &mut branches, &mut past);
            for branch in &mut branches {
                for _ in 0..=maker.dice.below(5) {
                    maker.step(branch, &past);
                }
            }
        }
        let mut forked = Self {
            states: branches.into_iter().map(|branch| branch.state).collect(),
            room: maker.room,
        };
        hostile::spoil(&mut forked, &mut maker.dice);
        forked
    }

    /// The state that these states of the room make, merged by [`resolve`].
    ///
    /// # Panics
    /// When that finds fault with them.
    #[must_use]
    pub fn resolved(room: &Room, states: &[State]) -> State {
        let (conflicts, resolving) = room.conflicts(states);
        let resolution = resolve(room.version(), &conflicts, &resolving);
        apply(states, &resolution.expect("all events are at hand"))
    }
}

/// The states with what a resolution changes in them.
#[must_use]
pub fn apply(states: &[State], resolution: &Resolution) -> State {
    let mut state = states.first().cloned().unwrap_or_default();
    for (key, event) in &resolution.changes {
        match event {
            Some(event) => state.insert(*key, *event),
            None => state.remove(key),
        };
    }
    state
}

/// Makes two to four branches out of those that there are: new ones part from an end, or from a point in the past.
fn fork(maker: &mut Maker, branches: &mut Vec<Branch>, past: &mut Vec<Branch>) {
    past.extend_from_slice(branches);
    let count = 2 + maker.dice.below(3);
    while branches.len() < count {
        let sources = if maker.dice.percent(20) {
            &*past
        } else {
            &*branches
        };
        branches.extend(maker.dice.pick(sources).cloned());
    }
}

/// Merges some of the branches.
fn merge(maker: &mut Maker, branches: &mut Vec<Branch>) {
    while branches.len() > 1 && maker.dice.percent(50) {
        maker.dice.shuffle(branches);
        let (Some(first), Some(second)) = (branches.pop(), branches.pop()) else {
            return;
        };
        let states = [first.state.clone(), second.state.clone()];
        let state = if maker.dice.percent(75) {
            ForkedRoom::resolved(&maker.room, &states)
        } else {
            hostile::mixed(&states, &mut maker.dice)
        };
        branches.push(first.merged_with(second, state));
    }
}
