//! The end: what is queued is done, what comes later is told, nothing hangs.

use std::future::Future;
use std::task::Poll;

use starling_db::{Dialect, Error, Write};
use starling_testkit::{TestDb, on_each_engine};

use crate::gate::hold;
use crate::schema::{Answer, SCHEMA, add_pair, pair_ids, write_pair};

#[tokio::test]
async fn closing_finishes_what_is_queued_and_refuses_what_comes_later() {
    on_each_engine(&SCHEMA, |mut test| async move {
        let held = hold(test.db()).await;
        let mut receipts = Vec::new();
        for id in 0..20 {
            let slot = test.db().slot().await.unwrap();
            receipts.push(slot.submit(
                Write::new("late"),
                move |tx| add_pair(tx, id),
                |_, _, ()| Ok(()),
                || {},
            ));
        }
        let unused = test.db().slot().await.unwrap();
        let closing = [test.db().clone(), test.db().clone()]
            .map(|db| tokio::spawn(async move { db.close().await }));
        while test.db().slot().await.is_ok() {
            tokio::task::yield_now().await;
        }
        held.let_go().await;
        for receipt in receipts {
            receipt.await.unwrap();
        }
        assert!(
            closing.iter().all(|closing| !closing.is_finished()),
            "a slot that is still held counts"
        );
        unused
            .submit(
                Write::new("last"),
                |tx| add_pair(tx, 20),
                |_, _, ()| Answer::Ok(()),
                || {},
            )
            .await
            .unwrap();
        for closing in closing {
            closing.await.unwrap();
        }
        assert!(matches!(
            write_pair(test.db(), 99).await,
            Err(Error::Closed)
        ));
        assert!(matches!(test.db().head().await, Err(Error::Closed)));
        let closed = test.db().clone();
        let mut failed = std::pin::pin!(closed.failed());
        assert!(
            std::future::poll_fn(|context| Poll::Ready(failed.as_mut().poll(context).is_pending()))
                .await,
            "it was closed in good order"
        );
        test.reopen().await;
        assert_eq!(pair_ids(test.db()).await, (0..=20).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_dropped_without_closing_stops_by_itself() {
    on_each_engine(&SCHEMA, |test| async move {
        write_pair(test.db(), 1).await.unwrap();
        let again = test.open_again(&SCHEMA).await;
        // One writer at a time on SQLite is the data folder's lock's business, not this crate's.
        drop(again.unwrap());
        assert_eq!(pair_ids(test.db()).await, [1]);
    })
    .await;
}

/// The runtime goes first: its database must neither hang nor answer with anything but an error.
fn outlive_the_runtime(engine: Dialect) {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let test = first.block_on(TestDb::open(engine, &SCHEMA));
    first.block_on(write_pair(test.db(), 1)).unwrap();
    drop(first);
    let second = runtime();
    let written = second.block_on(write_pair(test.db(), 2));
    assert_eq!(written.is_ok(), engine == Dialect::Sqlite, "{written:?}");
    second.block_on(test.db().close());
    drop(test);
}

#[test]
fn sqlite_outlives_the_runtime() {
    outlive_the_runtime(Dialect::Sqlite);
}

#[test]
fn postgres_does_not_hang_without_its_runtime() {
    outlive_the_runtime(Dialect::Postgres);
}

#[test]
fn a_runtime_that_is_dropped_during_a_read_does_not_hang() {
    for engine in [Dialect::Sqlite, Dialect::Postgres] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let test = runtime.block_on(TestDb::open(engine, &SCHEMA));
        let (enter, entered) = std::sync::mpsc::channel();
        let (open, opened) = std::sync::mpsc::channel::<()>();
        let db = test.db().clone();
        runtime.spawn(async move {
            db.scan("long", move |tx| {
                enter.send(()).ok();
                opened.recv().ok();
                add_pair(tx, 1)
            })
            .await
            .ok();
        });
        entered.recv().unwrap();
        let dropping = std::thread::spawn(move || drop(runtime));
        drop(open);
        dropping.join().unwrap();
        drop(test);
    }
}
