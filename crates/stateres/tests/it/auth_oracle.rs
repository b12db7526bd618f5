//! The authorization rules against those of another implementation: both say the same of random events in random rooms.
//!
//! Where the other implementation differs from the text, the generator doesn't go, and the text's side is tested
//! elsewhere:
//!
//! - It takes no fractions as levels, no levels in strings beyond 2^53, and `++5` (`power_levels::levels_with_fractions`
//!   and `levels_in_strings`).
//! - It refuses malformed `notifications` where no rule looks at them (`notifications_that_nobody_looks_at`).
//! - It takes properties that are null for missing: `creator` (`create::creator_property`), `third_party_invite`
//!   (`third_party_invite::what_is_signed`), `join_authorised_via_users_server` (`member::malformed`).
//! - It allows nobody to join, invited or not, where there is no join rule (`member::join`), and nothing in rooms whose
//!   `creator` is no user id (`create::room_without_a_creator`) or whose `m.federate` is no truth value
//!   (`create::closed_to_other_servers`).
//! - It leaves to others whether the room version is known (`create::room_version`) and whether the server of a user who
//!   authorises a join has signed it (`member::restricted_join`): here, both servers always have.

mod generator;
mod other;

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{EventId, OwnedEventId, room_version_rules::AuthorizationRules};
use ruma_events::StateEventType;
use ruma_state_res::{check_state_dependent_auth_rules, check_state_independent_auth_rules};
use starling_events::{Pdu, RoomVersion};
use starling_stateres::{AuthError, AuthState, check, check_auth_events};
use starling_testkit::seeds;

use crate::support::numbered_versions;
use generator::{Case, Generator};
use other::{Other, rules_of};

/// How many seeds there are, unless `SEEDS` says otherwise.
const SEEDS: u64 = 10;

/// How many rooms of each version a seed makes.
const ROOMS: u64 = 6;

/// How many events in each room.
const EVENTS: usize = 20;

/// A state for both.
struct State<'a> {
    ours: BTreeMap<(&'a str, &'a str), &'a Pdu>,
    others: BTreeMap<(String, String), Other>,
}

impl<'a> State<'a> {
    fn new(events: &'a [Pdu]) -> Self {
        let key = |event: &'a Pdu| (event.kind(), event.state_key().unwrap());
        let ours = events.iter().map(|event| (key(event), event));
        let others = events.iter().map(|event| {
            let (kind, state_key) = key(event);
            ((kind.to_owned(), state_key.to_owned()), Other::new(event))
        });
        Self {
            ours: ours.collect(),
            others: others.collect(),
        }
    }
}

impl AuthState for State<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<&Pdu> {
        self.ours.get(&(kind, state_key)).copied()
    }
}

fn our_verdict(version: RoomVersion, case: &Case, state: &State<'_>) -> Result<(), AuthError> {
    let chosen: Vec<&Pdu> = case.auth_events.iter().collect();
    check_auth_events(version, &case.event, &chosen)?;
    check(version, &case.event, state)
}

fn other_verdict(rules: &AuthorizationRules, case: &Case, state: &State<'_>) -> Result<(), String> {
    let event = Other::new(&case.event);
    let known: BTreeMap<OwnedEventId, Other> = case
        .auth_events
        .iter()
        .map(|event| (event.event_id().to_owned(), Other::new(event)))
        .collect();
    let of_state = |id: &EventId| state.others.values().find(|event| event.has_id(id));
    let fetch = |id: &EventId| known.get(id).or_else(|| of_state(id));
    check_state_independent_auth_rules(rules, &event, fetch)?;
    let fetch =
        |kind: &StateEventType, key: &str| state.others.get(&(kind.to_string(), key.to_owned()));
    check_state_dependent_auth_rules(rules, &event, fetch)
}

/// What both say of the events in rooms of a version.
fn compare(
    version: RoomVersion,
    rules: &AuthorizationRules,
    seed: u64,
    mut compared: impl FnMut(&Case, Result<(), AuthError>, Result<(), String>),
) {
    let mut generator = Generator::new(version, seed);
    let events = generator.room();
    let state = State::new(&events);
    for _ in 0..EVENTS {
        let case = generator.case(&events);
        let ours = our_verdict(version, &case, &state);
        let others = other_verdict(rules, &case, &state);
        compared(&case, ours, others);
    }
}

#[test]
fn same_verdicts() {
    let seeds = seeds(SEEDS);
    let mut refusals = BTreeSet::new();
    for (number, version) in numbered_versions() {
        let rules = rules_of(number);
        let (mut allowed, mut refused) = (0, 0);
        for seed in seeds.start * ROOMS..seeds.end * ROOMS {
            compare(version, &rules, seed, |case, ours, others| {
                assert_eq!(
                    ours.is_ok(),
                    others.is_ok(),
                    "version {version}, seed {seed}: we say {ours:?}, the other says {others:?}\n{:#?}",
                    case.event
                );
                match ours {
                    Ok(()) => allowed += 1,
                    Err(error) => {
                        refused += 1;
                        refusals.insert(format!("{error:?}"));
                    }
                }
            });
        }
        println!("version {version}, seeds {seeds:?}: {allowed} allowed, {refused} refused");
        let is_two_sided = allowed > refused / 10 && refused > allowed / 10;
        assert!(is_two_sided || seeds.end < SEEDS, "one-sided");
    }
    println!("refused because of {refusals:?}");
    assert!(
        refusals.len() >= 40 || seeds.end < SEEDS,
        "few kinds of refusals"
    );
}

/// The events are such that it shows when rules are taken for those of another version.
#[test]
fn versions_are_told_apart() {
    let mut told_apart = Vec::new();
    for (number, version) in numbered_versions().take(RoomVersion::ALL.len() - 1) {
        let next_rules = rules_of(number + 1);
        let mut differences = 0;
        for seed in 0..SEEDS * ROOMS / 2 {
            compare(version, &next_rules, seed, |_, ours, others| {
                differences += usize::from(ours.is_ok() != others.is_ok());
            });
        }
        println!("version {version}: {differences} differences from the next");
        if differences > 0 {
            told_apart.push(number);
        }
    }
    assert_eq!(told_apart, [2, 5, 6, 7, 9, 10, 11]);
}
