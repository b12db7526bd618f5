//! The simulated writer and disk: repeatable, failing when told to, and forgetting what wasn't synced.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use starling_db::{Db, Error, Simulation, Write};
use starling_runtime::Chance;
use starling_testkit::TestDb;

use crate::schema::{SCHEMA, add_pair, head, note_positions, pair_ids, write_note, write_pair};

/// Runs writers with random pauses; what happened, in order.
async fn trace(seed: u64) -> (Vec<String>, Vec<i64>) {
    let chance = Chance::seeded(seed);
    let simulation = Simulation {
        failing_bodies: 100,
        failing_commits: 200,
        ..Simulation::calm(chance.clone())
    };
    let test = TestDb::simulated(&SCHEMA, simulation).await;
    let trace = Arc::new(Mutex::new(Vec::new()));
    let started = tokio::time::Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_i64 {
        let (db, chance, trace) = (test.db().clone(), chance.clone(), Arc::clone(&trace));
        writers.spawn(async move {
            for step in 0..10 {
                tokio::time::sleep(Duration::from_millis(chance.within(0..20))).await;
                let result = if step % 2 == 0 {
                    write_pair(&db, writer * 100 + step).await.map(|()| 0)
                } else {
                    write_note(&db, "author").await
                };
                let at = started.elapsed().as_millis();
                trace
                    .lock()
                    .unwrap()
                    .push(format!("{at} {writer} {step} {result:?}"));
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let found = pair_ids(test.db())
        .await
        .into_iter()
        .chain(note_positions(test.db()).await)
        .collect();
    let trace = std::mem::take(&mut *trace.lock().unwrap());
    (trace, found)
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats() {
    let first = trace(1).await;
    assert_eq!(first, trace(1).await);
    assert_ne!(first.0, trace(2).await.0);
    assert!(
        first.0.iter().any(|line| line.contains("Simulated")),
        "some writes fail"
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_not_stored_and_what_is_answered_is() {
    for seed in 0..30 {
        let simulation = Simulation {
            failing_bodies: 300,
            failing_commits: 300,
            ..Simulation::calm(Chance::seeded(seed))
        };
        let test = TestDb::simulated(&SCHEMA, simulation).await;
        let mut writes = tokio::task::JoinSet::new();
        for id in 0..40 {
            let db = test.db().clone();
            writes.spawn(async move { (id, write_pair(&db, id).await) });
        }
        let mut stored = BTreeSet::new();
        while let Some(written) = writes.join_next().await {
            match written.unwrap() {
                (id, Ok(())) => assert!(stored.insert(id)),
                (_, result) => assert!(matches!(result, Err(Error::Simulated)), "{result:?}"),
            }
        }
        assert_eq!(
            pair_ids(test.db()).await,
            stored.into_iter().collect::<Vec<_>>(),
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_forgets_what_was_not_synced() {
    let mut test = TestDb::simulated(&SCHEMA, Simulation::calm(Chance::seeded(1))).await;
    let relaxed = |id| {
        test.db()
            .write(Write::new("relaxed").relaxed(), move |tx| add_pair(tx, id))
    };
    write_pair(test.db(), 1).await.unwrap();
    relaxed(2).await.unwrap();
    assert_eq!(pair_ids(test.db()).await, [1, 2]);
    test.power_cut().await;
    assert_eq!(
        pair_ids(test.db()).await,
        [1],
        "a relaxed write was answered, but not on the disk"
    );
    let relaxed = |id| {
        test.db()
            .write(Write::new("relaxed").relaxed(), move |tx| add_pair(tx, id))
    };
    relaxed(3).await.unwrap();
    write_pair(test.db(), 4).await.unwrap();
    test.power_cut().await;
    assert_eq!(
        pair_ids(test.db()).await,
        [1, 3, 4],
        "a sync takes along what came before"
    );
}

/// The ids of pairs, and the positions of notes, whose durable writes were answered.
type Acknowledged = (BTreeSet<i64>, BTreeSet<i64>);

/// Writes for ever: relaxed pairs (negative ids), durable pairs, notes.
async fn write_on(writer: i64, db: Db, chance: Chance, acknowledged: Arc<Mutex<Acknowledged>>) {
    for id in (writer * 1000).. {
        tokio::time::sleep(Duration::from_millis(chance.within(0..5))).await;
        match chance.within(0..3) {
            0 => drop(
                db.write(Write::new("relaxed").relaxed(), move |tx| {
                    add_pair(tx, -1 - id)
                })
                .await,
            ),
            1 if write_pair(&db, id).await.is_ok() => {
                acknowledged.lock().unwrap().0.insert(id);
            }
            1 => {}
            _ => {
                let position = write_note(&db, "author").await;
                acknowledged.lock().unwrap().1.extend(position.ok());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let mut lost = 0;
    for seed in 0..150 {
        let chance = Chance::seeded(seed);
        let simulation = Simulation {
            failing_commits: 100,
            ..Simulation::calm(chance.clone())
        };
        let mut test = TestDb::simulated(&SCHEMA, simulation).await;
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..4_i64 {
            let (db, chance, acknowledged) =
                (test.db().clone(), chance.clone(), Arc::clone(&acknowledged));
            writers.spawn(write_on(writer, db, chance, acknowledged));
        }
        tokio::time::sleep(Duration::from_millis(chance.within(20..200))).await;
        let before = pair_ids(test.db()).await.len();
        test.power_cut().await;
        writers.shutdown().await;
        let (pairs, notes) = std::mem::take(&mut *acknowledged.lock().unwrap());
        let found: BTreeSet<i64> = pair_ids(test.db()).await.into_iter().collect();
        let positions: BTreeSet<i64> = note_positions(test.db()).await.into_iter().collect();
        assert!(
            found.is_superset(&pairs),
            "seed {seed}: {:?} are lost",
            pairs.difference(&found)
        );
        assert!(
            positions.is_superset(&notes),
            "seed {seed}: {:?} are lost",
            notes.difference(&positions)
        );
        assert_eq!(
            positions.last().copied().unwrap_or(0),
            head(test.db()).await,
            "seed {seed}"
        );
        lost += before - found.len();
        // It goes on from there.
        write_pair(test.db(), -1_000_000)
            .await
            .or_else(|error| {
                if matches!(error, Error::Simulated) {
                    Ok(())
                } else {
                    Err(error)
                }
            })
            .unwrap();
    }
    assert!(
        lost > 0,
        "some relaxed writes were lost: else the power cuts cut nothing"
    );
}
