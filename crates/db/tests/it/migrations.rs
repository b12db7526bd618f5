//! Migrations: forward only, all or nothing each, two neighbouring programs side by side.

use starling_db::{Dialect, Error, Migration, Schema};
use starling_testkit::{TestDb, on_each_engine};

use crate::schema::{NEWER_MIGRATIONS, SCHEMA, pair_ids, write_pair};

static NEIGHBOUR: Schema = Schema {
    migrations: &NEWER_MIGRATIONS,
    oldest_program: 2,
};
static MUCH_NEWER: Schema = Schema {
    migrations: &NEWER_MIGRATIONS,
    oldest_program: 3,
};

#[tokio::test]
async fn opening_again_changes_nothing() {
    on_each_engine(&SCHEMA, |mut test| async move {
        write_pair(test.db(), 1).await.unwrap();
        for _ in 0..2 {
            test.reopen().await;
        }
        assert_eq!(pair_ids(test.db()).await, [1]);
    })
    .await;
}

#[tokio::test]
async fn a_neighbouring_program_works_with_a_newer_schema() {
    on_each_engine(&SCHEMA, |test| async move {
        test.db().close().await;
        let newer = test.open_again(&NEIGHBOUR).await.unwrap();
        newer.close().await;
        let older = test.open_again(&SCHEMA).await.unwrap();
        write_pair(&older, 1).await.unwrap();
        assert_eq!(pair_ids(&older).await, [1]);
        older.close().await;
        // And the newer one again, which has nothing left to do.
        test.open_again(&NEIGHBOUR).await.unwrap().close().await;
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_too_old_is_refused_with_the_reason() {
    on_each_engine(&SCHEMA, |test| async move {
        test.db().close().await;
        test.open_again(&MUCH_NEWER).await.unwrap().close().await;
        let refused = test.open_again(&SCHEMA).await;
        let Err(Error::Refused(reason)) = refused else {
            panic!("{refused:?}")
        };
        assert!(
            reason.contains("newer program") && reason.contains("this one is of schema 2"),
            "{reason}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing() {
    static BROKEN: Schema = Schema {
        migrations: &[
            Migration {
                name: "0001_good",
                text: "CREATE TABLE good (id BIGINT)",
            },
            Migration {
                name: "0002_bad",
                text: "CREATE TABLE bad (id BIGINT); CREATE TABLE good (id BIGINT);",
            },
        ],
        oldest_program: 1,
    };
    static MENDED: Schema = Schema {
        migrations: &[
            Migration {
                name: "0001_good",
                text: "CREATE TABLE good (id BIGINT)",
            },
            Migration {
                name: "0002_bad",
                text: "CREATE TABLE bad (id BIGINT)",
            },
        ],
        oldest_program: 1,
    };
    static NOTHING: Schema = Schema {
        migrations: &[],
        oldest_program: 0,
    };
    on_each_engine(&NOTHING, |test| async move {
        test.db().close().await;
        let broken = test.open_again(&BROKEN).await;
        let Err(Error::Statement { statement, .. }) = broken else {
            panic!("{broken:?}")
        };
        assert_eq!(statement, "0002_bad");
        test.open_again(&MENDED).await.unwrap().close().await;
    })
    .await;
}

#[tokio::test]
async fn postgres_nodes_that_start_at_once_migrate_one_after_the_other() {
    static NOTHING: Schema = Schema {
        migrations: &[],
        oldest_program: 0,
    };
    let test = TestDb::open(Dialect::Postgres, &NOTHING).await;
    let (one, two) = tokio::join!(test.open_again(&SCHEMA), test.open_again(&SCHEMA));
    let (one, two) = (one.unwrap(), two.unwrap());
    write_pair(&one, 1).await.unwrap();
    write_pair(&two, 2).await.unwrap();
    assert_eq!(pair_ids(&one).await, [1, 2]);
    one.close().await;
    two.close().await;
}
