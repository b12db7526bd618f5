//! Several servers in one process whose users encrypt what they say, by seed.

use std::io::Write as _;

use super::{are_the_same, none_fails, tell};
use starling_testkit::seeds;
use starling_testkit::simulation::{EncryptionPlan, EncryptionReport, run_all, run_encryption};

/// Three servers, on which all that can fail does.
const ALL: EncryptionPlan = EncryptionPlan {
    users: 4,
    actions: 12,
    has_faults: true,
    has_restore: false,
};

/// The same, where one of the servers is put back to a copy of its database.
const RESTORED: EncryptionPlan = EncryptionPlan {
    actions: 8,
    has_restore: true,
    ..ALL
};

#[test]
fn every_message_decrypts_for_who_may_read_it_whatever_fails() {
    let reports = run_all(seeds(200), |seed| run_encryption(seed, ALL));
    check(&reports);
}

#[test]
fn after_a_copy_was_put_back_every_message_sent_from_then_on_decrypts() {
    let reports = run_all(seeds(50), |seed| run_encryption(seed, RESTORED));
    check(&reports);
    let sum = |of: fn(&EncryptionReport) -> u64| reports.iter().map(of).sum::<u64>();
    say(&format!(
        "lost with the copies: the keys of {} messages, each for a device, and {} messages from device to device; {} came again",
        sum(|it| it.counts.lost),
        sum(|it| it.counts.to_device_lost),
        sum(|it| it.counts.to_device_again),
    ));
}

#[test]
fn a_seed_of_encryption_is_always_the_same_run() {
    let run = || run_encryption(1, ALL).outcome;
    are_the_same(&run(), &run());
}

fn check(reports: &[EncryptionReport]) {
    for report in reports {
        println!(
            "seed {}: {:?}, {} s",
            report.outcome.seed,
            report.counts,
            report.outcome.took_ms / 1000
        );
    }
    tell(reports.iter().map(|it| &it.outcome));
    let sum = |of: fn(&EncryptionReport) -> u64| reports.iter().map(of).sum::<u64>();
    say(&format!(
        "{} seeds, {} encrypted messages, {} decrypted by a device each, {} undecryptable; for {} the sender's server could not \
         know yet of the device, for {} it could not ask the device's server; \
         {} rooms of a device parted",
        reports.len(),
        sum(|it| it.counts.messages),
        sum(|it| it.counts.decrypted),
        sum(|it| it.counts.undecryptable),
        sum(|it| it.counts.unknown_yet),
        sum(|it| it.counts.unreachable),
        sum(|it| it.counts.parted),
    ));
    none_fails(reports.iter().map(|it| &it.outcome));
}

/// Says it also when the test passes.
fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").ok();
}
