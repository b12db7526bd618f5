//! SQLite only: a full disk, and what the disk is asked for.

use std::path::Path;

use starling_db::{Db, Dialect, Error, Migration, Options, Receipt, Schema, Tx, Value, Write};
use starling_testkit::TestDb;

use crate::gate::hold;
use crate::schema::{Answer, PAIR_ADD_DATA, SCHEMA, START, add_pair, pair_ids, write_pair};

starling_db::statements! {
    SYNCHRONOUS = "PRAGMA synchronous";
}

/// A database that may not grow over 60 pages. The limit is the connection's, and migrations run on the writer's.
static SMALL: Schema = Schema {
    migrations: &[
        START,
        Migration {
            name: "0002_small",
            text: "PRAGMA max_page_count = 60",
        },
    ],
    oldest_program: 1,
};

fn add_big(tx: &mut Tx<'_>, id: i64) -> Answer<()> {
    let name = format!("big {id}");
    tx.execute_one(
        &PAIR_ADD_DATA,
        &[
            id.into(),
            name.as_str().into(),
            Value::Bytes(&vec![1; 1 << 20]),
        ],
    )
}

async fn queue(
    test: &TestDb,
    body: impl FnMut(&mut Tx<'_>) -> Answer<()> + Send + 'static,
) -> Receipt<(), Error> {
    test.db()
        .slot()
        .await
        .unwrap()
        .submit(Write::new("test"), body, |_, _, ()| Ok(()), || {})
}

#[tokio::test]
async fn a_full_disk_fails_the_whole_batch_and_nothing_slips_through() {
    let test = TestDb::open(Dialect::Sqlite, &SMALL).await;
    write_pair(test.db(), 1).await.unwrap();
    let held = hold(test.db()).await;
    let before = queue(&test, |tx| add_pair(tx, 2)).await;
    let big = queue(&test, |tx| {
        // SQLite has rolled back by itself: what follows must not become a transaction of its own.
        add_big(tx, 3).ok();
        add_pair(tx, 4).ok();
        Ok(())
    });
    let big = big.await;
    let after = queue(&test, |tx| add_pair(tx, 5)).await;
    held.let_go().await;
    for receipt in [before, big, after] {
        let failed = receipt.await;
        let Err(Error::Statement { statement, .. }) = failed else {
            panic!("{failed:?}")
        };
        assert_eq!(
            statement,
            PAIR_ADD_DATA.name(),
            "everybody is told the cause"
        );
    }
    assert_eq!(pair_ids(test.db()).await, [1]);
    write_pair(test.db(), 6).await.unwrap();
    assert_eq!(pair_ids(test.db()).await, [1, 6]);
}

#[tokio::test]
async fn durable_batches_wait_for_the_disk_also_after_relaxed_ones() {
    const NORMAL: i64 = 1;
    const FULL: i64 = 2;
    let test = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let level = |tx: &mut Tx<'_>| tx.query_one(&SYNCHRONOUS, &[], |row| row.int(0));
    for (write, wanted) in [
        (Write::new("durable"), FULL),
        (Write::new("relaxed").relaxed(), NORMAL),
        (Write::new("durable"), FULL),
        (Write::new("relaxed").relaxed(), NORMAL),
    ] {
        assert_eq!(test.db().write(write, level).await.unwrap(), Some(wanted));
    }
    // A relaxed write in the batch of a durable one, and one that takes positions.
    let held = hold(test.db()).await;
    let relaxed = test.db().slot().await.unwrap().submit(
        Write::new("positioned").relaxed(),
        level,
        |_, _, level| Answer::Ok(level),
        || {},
    );
    held.let_go().await;
    assert_eq!(relaxed.await.unwrap(), Some(FULL));
}

/// Opens the database at `path`, adds a pair with much data, and gives the write-ahead log as it is before the end.
async fn write_big_pair(path: &Path, id: i64) -> Vec<u8> {
    let db = Db::open_sqlite(path, &SCHEMA, &Options::default()).unwrap();
    let add = move |tx: &mut Tx<'_>| add_big(tx, id);
    db.write(Write::new("test"), add).await.unwrap();
    let log = std::fs::read(path.with_extension("db-wal")).unwrap();
    db.close().await;
    log
}

#[tokio::test]
async fn a_log_of_later_beside_an_older_copy_is_found_and_both_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    write_big_pair(&path, 1).await;
    let older = std::fs::read(&path).unwrap();
    write_big_pair(&path, 2).await;
    let log = write_big_pair(&path, 3).await;
    Db::check_sqlite(&path).unwrap();
    std::fs::write(&path, &older).unwrap();
    std::fs::write(path.with_extension("db-wal"), &log).unwrap();
    let found = Db::check_sqlite(&path);
    assert!(matches!(found, Err(Error::Damaged(_))), "{found:?}");
    assert_eq!(std::fs::read(&path).unwrap(), older);
    let found = std::fs::read(path.with_extension("db-wal")).unwrap();
    assert_eq!(found, log);
    for beside in ["db-wal", "db-shm"] {
        std::fs::remove_file(path.with_extension(beside)).unwrap();
    }
    Db::check_sqlite(&path).unwrap();
}

#[test]
fn what_is_no_database_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    let missing = Db::check_sqlite(&path);
    assert!(matches!(missing, Err(Error::Unavailable(_))), "{missing:?}");
    assert!(!path.exists());
    for text in [String::new(), "no database".repeat(1000)] {
        std::fs::write(&path, text).unwrap();
        let found = Db::check_sqlite(&path);
        assert!(matches!(found, Err(Error::Damaged(_))), "{found:?}");
    }
}
