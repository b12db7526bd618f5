//! In simulation: bodies and commits that fail, lost answers, and power cuts. What was acknowledged arrives, once, in order.

use serde_json::{Value, json};
use starling_db::Simulation;
use starling_runtime::Chance;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, World};

use crate::to_device::{messages, person, send, waiting};

/// Alice sends many messages, each until it is acknowledged, and sometimes once more; then the power fails. What was
/// acknowledged, and what Bob's device gets; twice each.
async fn run(seed: u64) -> (Vec<Value>, Vec<Value>, usize) {
    let calm = || Simulation::calm(Chance::seeded(seed));
    let mut db = TestDb::simulated(&SCHEMA, calm()).await;
    let world = World::start(&db).await;
    let (alice, bob) = (person(&world, "alice").await, person(&world, "bob").await);
    db.simulate(Simulation {
        failing_bodies: 100,
        failing_commits: 60,
        ..calm()
    });
    db.power_cut().await;
    let world = World::start(&db).await;
    let chance = Chance::seeded(seed);
    let (mut acknowledged, mut failures) = (Vec::new(), 0);
    for number in 0..40 {
        let to = messages(&json!({ "@bob:localhost": { "PHONE": { "n": number } } }));
        let txn_id = number.to_string();
        let tries = 1 + chance.within(0..3);
        for _ in 0..tries {
            match send(&world, &alice, &txn_id, &to).await {
                Ok(()) => acknowledged.push(json!({ "n": number })),
                Err(_) => failures += 1,
            }
        }
    }
    acknowledged.dedup();
    db.simulate(calm());
    db.power_cut().await;
    let world = World::start(&db).await;
    let found = waiting(&world, bob.device).await;
    (acknowledged, found, failures)
}

#[tokio::test(start_paused = true)]
async fn acknowledged_messages_survive_faults_and_power_cuts_and_come_once() {
    let mut failures = 0;
    for seed in 0..20 {
        let (acknowledged, mut found, failed) = run(seed).await;
        failures += failed;
        let sent = found.clone();
        found.dedup();
        assert_eq!(found, sent, "seed {seed}: none comes twice");
        // One that failed may have been stored all the same.
        found.retain(|message| acknowledged.contains(message));
        assert_eq!(found, acknowledged, "seed {seed}");
    }
    assert!(failures > 20, "{failures} failures: some requests fail");
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats() {
    assert_eq!(run(3).await, run(3).await);
}
