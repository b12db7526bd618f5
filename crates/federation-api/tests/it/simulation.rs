//! Several servers in one process, by seed.

mod encryption;

use starling_testkit::seeds;
use starling_testkit::simulation::{Outcome, Plan, Report, run, run_all};

/// Five servers, on which all that can fail does.
const ALL: Plan = Plan {
    servers: 5,
    actions: 9,
    has_faults: true,
    has_crashes: true,
    has_hostile: true,
};

#[test]
fn servers_agree_and_lose_nothing_whatever_fails() {
    let reports = run_all(seeds(50), |seed| run(seed, ALL));
    for report in &reports {
        println!("{}", line(report));
    }
    tell(reports.iter().map(|it| &it.outcome));
    none_fails(reports.iter().map(|it| &it.outcome));
}

#[test]
fn a_seed_is_always_the_same_run() {
    are_the_same(&run(1, ALL).outcome, &run(1, ALL).outcome);
}

/// Tells of a single seed what happened, and of each that fails why.
fn tell<'a>(outcomes: impl ExactSizeIterator<Item = &'a Outcome>) {
    let is_single = outcomes.len() == 1;
    for outcome in outcomes {
        if is_single {
            println!("{}", outcome.trace.join("\n"));
            println!("{}", outcome.failed_rooms.join("\n"));
        }
        if !outcome.failures.is_empty() {
            let failures = outcome.failures.join("\n  ");
            println!("seed {}:\n  {failures}", outcome.seed);
        }
    }
}

fn none_fails<'a>(outcomes: impl Iterator<Item = &'a Outcome>) {
    let failed = outcomes.filter(|it| !it.failures.is_empty()).count();
    assert!(
        failed == 0,
        "{failed} seeds fail: STARLING_SEED=n repeats one"
    );
}

fn are_the_same(one: &Outcome, other: &Outcome) {
    let pairs = one.trace.iter().zip(&other.trace);
    let same = pairs.take_while(|(one, other)| one == other).count();
    assert_eq!(one.trace.get(same), other.trace.get(same), "line {same}");
}

fn line(report: &Report) -> String {
    format!(
        "seed {}: {} rooms, {} events acknowledged, {} deliveries ({} not shown, {} in no timeline; {} missed while joining), {} states compared, {} read ({} over forks); \
         {} crashes, {} partitions, {} refused, {} broken, {} attacks, {} lies; {:?}; quiet after {} s, {} s in all",
        report.outcome.seed,
        report.rooms,
        report.acknowledged,
        report.deliveries,
        report.soft_failed,
        report.unplaced,
        report.missed_joining,
        report.states,
        report.read,
        report.read_over_forks,
        report.crashes,
        report.partitions,
        report.refused,
        report.broken,
        report.attacks,
        report.lies,
        report.carried,
        report.quiet_after_ms / 1000,
        report.outcome.took_ms / 1000,
    )
}
