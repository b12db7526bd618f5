//! Several servers in one process, by seed.

mod encryption;

use starling_testkit::seeds;
use starling_testkit::simulation::{Plan, Report, run, run_all};

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
    if let [report] = reports.as_slice() {
        println!("{}", report.trace.join("\n"));
        println!("{}", report.failed_rooms.join("\n"));
    }
    let failed: Vec<&Report> = reports
        .iter()
        .filter(|it| !it.failures.is_empty())
        .collect();
    for report in &failed {
        println!("seed {}:\n  {}", report.seed, report.failures.join("\n  "));
    }
    assert!(
        failed.is_empty(),
        "{} seeds fail: STARLING_SEED=n repeats one",
        failed.len()
    );
}

#[test]
fn a_seed_is_always_the_same_run() {
    let (one, other) = (run(1, ALL), run(1, ALL));
    let same = one
        .trace
        .iter()
        .zip(&other.trace)
        .take_while(|(one, other)| one == other);
    let same = same.count();
    assert_eq!(one.trace.get(same), other.trace.get(same), "line {same}");
}

fn line(report: &Report) -> String {
    format!(
        "seed {}: {} rooms, {} events acknowledged, {} deliveries ({} not shown, {} in no timeline; {} missed while joining), {} states compared, {} read ({} over forks); \
         {} crashes, {} partitions, {} refused, {} broken, {} attacks, {} lies; {:?}; quiet after {} s, {} s in all",
        report.seed,
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
        report.took_ms / 1000,
    )
}
