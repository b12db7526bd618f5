//! Positions: dense, remembered, and visible in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use starling_db::{Db, Dialect, Write};
use starling_testkit::on_each_engine;

use crate::schema::{NOTE_DELETE, NOTES_UP_TO, SCHEMA, head, note_positions, write_note};

const WRITERS: usize = 6;
const NOTES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_seen_n_never_finds_a_new_row_below_n() {
    on_each_engine(&SCHEMA, |test| async move {
        // Two nodes where there can be two.
        let other = match test.engine() {
            Dialect::Sqlite => test.db().clone(),
            Dialect::Postgres => test.open_again(&SCHEMA).await.unwrap(),
        };
        let done = Arc::new(AtomicBool::new(false));
        let readers =
            [test.db().clone(), other.clone()].map(|db| tokio::spawn(watch(db, Arc::clone(&done))));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let db = if writer % 2 == 0 {
                test.db().clone()
            } else {
                other.clone()
            };
            writers.spawn(write_notes(db, format!("writer {writer}")));
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
        done.store(true, Ordering::SeqCst);
        let all = note_positions(test.db()).await;
        assert_eq!(
            all,
            (1..=i64::try_from(WRITERS * NOTES).unwrap()).collect::<Vec<_>>(),
            "dense and distinct"
        );
        for reader in readers {
            for (n, seen) in reader.await.unwrap() {
                let now: Vec<i64> = all
                    .iter()
                    .copied()
                    .filter(|position| *position <= n)
                    .collect();
                assert_eq!(seen, now, "all up to {n} was there when {n} was the head");
            }
        }
        other.close().await;
    })
    .await;
}

async fn write_notes(db: Db, author: String) {
    for _ in 0..NOTES {
        let position = write_note(&db, &author).await.unwrap();
        assert!(head(&db).await >= position, "what is answered is visible");
    }
}

/// What was found up to each head, at the time when it was the head.
async fn watch(db: Db, done: Arc<AtomicBool>) -> BTreeMap<i64, Vec<i64>> {
    let mut seen = BTreeMap::new();
    while !done.load(Ordering::SeqCst) {
        let n = head(&db).await;
        let found = db.read("up_to", move |tx| {
            tx.query_all(&NOTES_UP_TO, &[n.into()], |row| row.int(0))
        });
        seen.entry(n).or_insert(found.await.unwrap());
        tokio::task::yield_now().await;
    }
    seen
}

#[tokio::test]
async fn the_head_is_remembered_not_computed() {
    on_each_engine(&SCHEMA, |mut test| async move {
        assert_eq!(test.db().head().await.unwrap(), (0, 1));
        for _ in 0..3 {
            write_note(test.db(), "author").await.unwrap();
        }
        let delete = |tx: &mut starling_db::Tx<'_>| tx.execute_one(&NOTE_DELETE, &[3.into()]);
        test.db().write(Write::new("delete"), delete).await.unwrap();
        test.reopen().await;
        assert_eq!(head(test.db()).await, 3);
        assert_eq!(write_note(test.db(), "author").await.unwrap(), 4);
        assert_eq!(note_positions(test.db()).await, [1, 2, 4]);
    })
    .await;
}
