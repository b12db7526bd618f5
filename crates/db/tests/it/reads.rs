//! Reads: one snapshot each, nothing written, panics passed on.

use std::sync::mpsc;

use starling_db::{Error, Tx};
use starling_testkit::on_each_engine;

use crate::schema::{Answer, PAIR_IDS, SCHEMA, STATEMENTS, add_pair, pair_ids, write_pair};

fn ids(tx: &mut Tx<'_>) -> Answer<Vec<i64>> {
    tx.query_all(&PAIR_IDS, &[], |row| row.int(0))
}

#[tokio::test]
async fn a_reader_sees_one_snapshot_while_writes_go_on() {
    on_each_engine(&SCHEMA, |test| async move {
        write_pair(test.db(), 1).await.unwrap();
        let (open, opened) = mpsc::channel::<()>();
        let (enter, entered) = tokio::sync::oneshot::channel();
        let db = test.db().clone();
        let reader = tokio::spawn(async move {
            db.scan("twice", move |tx| {
                let before = ids(tx)?;
                enter.send(()).ok();
                opened.recv().ok();
                Ok::<_, Error>((before, ids(tx)?))
            })
            .await
        });
        entered.await.unwrap();
        write_pair(test.db(), 2).await.unwrap();
        assert_eq!(pair_ids(test.db()).await, [1, 2]);
        drop(open);
        assert_eq!(reader.await.unwrap().unwrap(), (vec![1], vec![1]));
        assert_eq!(pair_ids(test.db()).await, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_reader_cannot_write() {
    on_each_engine(&SCHEMA, |test| async move {
        let written = test.db().read("write", |tx| add_pair(tx, 1)).await;
        assert!(
            matches!(written, Err(Error::Statement { .. })),
            "{written:?}"
        );
        let late = test.db().read("late", |tx| {
            ids(tx)?;
            add_pair(tx, 2)
        });
        assert!(matches!(late.await, Err(Error::Statement { .. })));
        assert_eq!(pair_ids(test.db()).await, Vec::<i64>::new());
    })
    .await;
}

#[tokio::test]
async fn only_readers_may_fill_caches() {
    on_each_engine(&SCHEMA, |test| async move {
        assert!(
            test.db()
                .read("reading", |tx| Ok::<_, Error>(tx.is_read_only()))
                .await
                .unwrap()
        );
        let write = starling_db::Write::new("writing");
        assert!(
            !test
                .db()
                .write(write, |tx| Ok::<_, Error>(tx.is_read_only()))
                .await
                .unwrap()
        );
    })
    .await;
}

#[tokio::test]
async fn a_readers_panic_reaches_its_caller_and_harms_nobody_else() {
    on_each_engine(&SCHEMA, |test| async move {
        for _ in 0..10 {
            let db = test.db().clone();
            let body = |_: &mut Tx<'_>| -> Answer<()> { panic!("meant by the test") };
            let read = tokio::spawn(async move { db.read("panic", body).await });
            assert!(read.await.unwrap_err().is_panic());
        }
        write_pair(test.db(), 1).await.unwrap();
        assert_eq!(pair_ids(test.db()).await, [1]);
    })
    .await;
}

#[tokio::test]
async fn many_readers_wait_for_their_turn() {
    on_each_engine(&SCHEMA, |test| async move {
        write_pair(test.db(), 1).await.unwrap();
        let mut reads = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let db = test.db().clone();
            reads.spawn(async move { (pair_ids(&db).await, db.scan("ids", ids).await.unwrap()) });
        }
        while let Some(read) = reads.join_next().await {
            assert_eq!(read.unwrap(), (vec![1], vec![1]));
        }
    })
    .await;
}

#[tokio::test]
async fn every_statement_is_accepted() {
    on_each_engine(&SCHEMA, |test| async move {
        for sql in STATEMENTS.iter().chain(starling_db::statements()) {
            let prepared = test.db().read("prepare", |tx| tx.prepare(sql)).await;
            prepared.unwrap_or_else(|error| panic!("{}: {error:?}", sql.name()));
        }
    })
    .await;
}
