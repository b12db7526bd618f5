//! PostgreSQL only: several nodes, lost connections, refused settings.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use starling_db::{Db, Dialect, Error, Options, Sql, Tx, Value, Write};
use starling_testkit::TestDb;

use crate::gate::hold;
use crate::proxy::Proxy;
use crate::schema::{
    Answer, PAIR_ADD, PAIR_ADD_DATA, PAIR_RENAME, SCHEMA, add_pair, head, pair_ids,
};
use crate::schema::{note_positions, write_note, write_pair};

starling_db::statements! {
    TERMINATE_OTHERS = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    TERMINATE_SELF = "SELECT pg_terminate_backend(pg_backend_pid())::INT4::BIGINT";
    WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    COMMIT_WAITS = "SELECT (current_setting('synchronous_commit') <> 'off')::INT4";
    LOSE_WRITES = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    TAKE_DATABASE = "SELECT count(pg_advisory_lock(-2, -2)) FROM (SELECT 1) AS one";
    GIVE_DATABASE = "SELECT pg_advisory_unlock(-2, -2)::INT4::BIGINT";
    DIVIDE_BY_ZERO = "SELECT 1 / (?1::BIGINT)";
}

async fn postgres() -> TestDb {
    TestDb::open(Dialect::Postgres, &SCHEMA).await
}

async fn number(db: &Db, sql: &'static Sql) -> i64 {
    db.read("number", move |tx| tx.query_one(sql, &[], |row| row.int(0)))
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_deadlock_between_nodes_is_run_again() {
    let test = postgres().await;
    let other = test.open_again(&SCHEMA).await.unwrap();
    write_pair(test.db(), 1).await.unwrap();
    write_pair(test.db(), 2).await.unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let both = Arc::new(Barrier::new(2));
    let rename = |first: i64, second: i64| {
        let (runs, both) = (Arc::clone(&runs), Arc::clone(&both));
        move |tx: &mut Tx<'_>| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            tx.execute_one(
                &PAIR_RENAME,
                &[first.into(), format!("{first} by {first}").as_str().into()],
            )?;
            if run < 2 {
                both.wait();
            }
            tx.execute_one(
                &PAIR_RENAME,
                &[
                    second.into(),
                    format!("{second} by {first}").as_str().into(),
                ],
            )
        }
    };
    let one = test.db().write(Write::new("one"), rename(1, 2));
    let two = other.write(Write::new("two"), rename(2, 1));
    let (one, two) = tokio::join!(one, two);
    one.unwrap();
    two.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 3, "one of the two ran twice");
    other.close().await;
}

#[tokio::test]
async fn the_keys_of_a_write_keep_other_nodes_away() {
    let test = postgres().await;
    let other = test.open_again(&SCHEMA).await.unwrap();
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let first = {
        let (db, enter) = (test.db().clone(), enter.clone());
        let body = move |tx: &mut Tx<'_>| {
            enter.send(1).ok();
            opened.recv().ok();
            add_pair(tx, 1)
        };
        tokio::spawn(async move { db.write(Write::new("first").locking([9, 7, 7]), body).await })
    };
    assert_eq!(entered.recv().await, Some(1));
    let second = {
        let db = other.clone();
        let body = move |tx: &mut Tx<'_>| {
            enter.send(2).ok();
            add_pair(tx, 2)
        };
        tokio::spawn(async move { db.write(Write::new("second").locking([7, 8]), body).await })
    };
    while number(test.db(), &WAITING).await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(
        entered.try_recv().is_err(),
        "the second body waits for the first commit"
    );
    drop(open);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(entered.recv().await, Some(2));
    other.close().await;
}

#[tokio::test]
async fn lost_connections_are_made_again() {
    let test = postgres().await;
    let other = test.open_again(&SCHEMA).await.unwrap();
    write_pair(test.db(), 1).await.unwrap();
    assert_eq!(pair_ids(test.db()).await, [1]);
    for id in 2..6 {
        // The writer and the readers that idle.
        assert!(number(&other, &TERMINATE_OTHERS).await >= 1);
        write_pair(test.db(), id).await.unwrap();
        assert!(number(&other, &TERMINATE_OTHERS).await >= 1);
        assert_eq!(pair_ids(test.db()).await, (1..=id).collect::<Vec<_>>());
    }
    other.close().await;
}

#[tokio::test]
async fn a_connection_lost_within_a_batch_runs_the_batch_again() {
    let test = postgres().await;
    let held = hold(test.db()).await;
    let slot = test.db().slot().await.unwrap();
    let first = slot.submit(
        Write::new("first"),
        |tx| add_pair(tx, 1),
        |_, _, ()| Answer::Ok(()),
        || {},
    );
    let slot = test.db().slot().await.unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let unlucky = move |tx: &mut Tx<'_>| {
        add_pair(tx, 2)?;
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            tx.query_one(&TERMINATE_SELF, &[], |row| row.int(0))?;
        }
        add_pair(tx, 3)
    };
    let unlucky = slot.submit(
        Write::new("unlucky"),
        unlucky,
        |_, _, ()| Answer::Ok(()),
        || {},
    );
    held.let_go().await;
    first.await.unwrap();
    unlucky.await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(pair_ids(test.db()).await, [1, 2, 3]);
}

/// A database behind a proxy, opened through it.
async fn behind_proxy(test: &TestDb) -> (Proxy, Db) {
    let url = test.url();
    let config: tokio_postgres::Config = url.parse().unwrap();
    let tokio_postgres::config::Host::Unix(folder) = &config.get_hosts()[0] else {
        panic!("no Unix socket: {url}")
    };
    let proxy = Proxy::before(&PathBuf::from(folder));
    let database = config.get_dbname().unwrap();
    let socket = proxy.folder().to_str().unwrap().replace('/', "%2F");
    let url = format!("postgres://postgres@{socket}/{database}");
    // As a server does: a session with a lock that lingers must not keep it from asking what became of a commit.
    let db = Db::open_postgres(&url, &SCHEMA, &exclusive())
        .await
        .unwrap();
    (proxy, db)
}

fn exclusive() -> Options {
    Options {
        exclusive: true,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_database_that_is_open_exclusively_is_refused_to_another() {
    let test = postgres().await;
    let url = test.url();
    let first = Db::open_postgres(&url, &SCHEMA, &exclusive())
        .await
        .unwrap();
    let second = Db::open_postgres(&url, &SCHEMA, &exclusive()).await;
    let Err(Error::Refused(reason)) = second else {
        panic!("{second:?}")
    };
    assert!(reason.contains("another Starling"), "{reason}");
    write_pair(&first, 1).await.unwrap();
    first.close().await;
    let next = Db::open_postgres(&url, &SCHEMA, &exclusive())
        .await
        .unwrap();
    write_pair(&next, 2).await.unwrap();
    next.close().await;
}

#[tokio::test]
async fn a_writer_that_connects_again_takes_the_database_again() {
    let test = postgres().await;
    let db = Db::open_postgres(&test.url(), &SCHEMA, &exclusive())
        .await
        .unwrap();
    for id in 1..4 {
        assert!(number(test.db(), &TERMINATE_OTHERS).await >= 1);
        write_pair(&db, id).await.unwrap();
        let second = Db::open_postgres(&test.url(), &SCHEMA, &exclusive()).await;
        assert!(matches!(second, Err(Error::Refused(_))), "{second:?}");
    }
    db.close().await;
}

#[tokio::test]
async fn a_writer_that_lost_the_database_to_another_does_not_write() {
    let test = postgres().await;
    let db = Db::open_postgres(&test.url(), &SCHEMA, &exclusive())
        .await
        .unwrap();
    let on_writer = |sql: &'static Sql| {
        test.db().write(Write::new("lock"), move |tx| {
            tx.query_one(sql, &[], |row| row.int(0))
        })
    };
    on_writer(&TERMINATE_OTHERS).await.unwrap();
    on_writer(&TAKE_DATABASE).await.unwrap();
    let written = write_pair(&db, 1).await;
    assert!(matches!(written, Err(Error::Unavailable(_))), "{written:?}");
    assert_eq!(on_writer(&GIVE_DATABASE).await.unwrap(), Some(1));
    write_pair(&db, 2).await.unwrap();
    assert_eq!(pair_ids(test.db()).await, [2]);
    db.close().await;
}

#[tokio::test]
async fn a_commit_of_which_nothing_can_be_learned_stops_the_writer() {
    let test = postgres().await;
    let (proxy, db) = behind_proxy(&test).await;
    write_pair(&db, 1).await.unwrap();
    proxy.vanish_after_commit();
    let (written, queued, ()) = tokio::join!(
        write_pair(&db, 2),
        async {
            // While the writer asks.
            while !proxy.is_gone() {
                tokio::task::yield_now().await;
            }
            write_pair(&db, 3).await
        },
        db.failed()
    );
    assert!(matches!(written, Err(Error::Uncertain(_))), "{written:?}");
    assert!(matches!(queued, Err(Error::Closed)), "{queued:?}");
    proxy.come_back();
    assert!(matches!(write_pair(&db, 4).await, Err(Error::Closed)));
    db.close().await;
    db.failed().await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_to_be_stored() {
    let test = postgres().await;
    let (proxy, db) = behind_proxy(&test).await;
    // Whether the server had the commit before it was told to stop is a race: until it was first, once.
    let mut id = 0;
    while pair_ids(test.db()).await.is_empty() {
        id += 1;
        assert!(id < 50, "the server never got a commit in time");
        proxy.cut_after_commit();
        let hooked = Arc::new(AtomicUsize::new(0));
        let hook = Arc::clone(&hooked);
        let body = move |tx: &mut Tx<'_>| {
            let hook = Arc::clone(&hook);
            tx.after_commit(move || {
                hook.fetch_add(1, Ordering::SeqCst);
            });
            add_pair(tx, id)
        };
        // The answer must be the truth.
        let result = db.write(Write::new("pair"), body).await;
        assert!(proxy.has_cut());
        let stored = pair_ids(test.db()).await.contains(&id);
        assert_eq!(result.is_ok(), stored, "{result:?}");
        assert_eq!(hooked.load(Ordering::SeqCst), usize::from(stored));
    }
    db.close().await;
}

#[tokio::test]
async fn a_commit_that_was_lost_is_found_to_be_lost() {
    let test = postgres().await;
    let (proxy, db) = behind_proxy(&test).await;
    proxy.cut_before_commit();
    let result = write_note(&db, "author").await;
    assert!(matches!(result, Err(Error::Commit(_))), "{result:?}");
    assert!(proxy.has_cut());
    assert_eq!(note_positions(test.db()).await, Vec::<i64>::new());
    assert_eq!(head(test.db()).await, 0);
    assert_eq!(write_note(&db, "author").await.unwrap(), 1);
    db.close().await;
}

#[tokio::test]
async fn settings_that_lose_writes_are_refused_wherever_they_are_made() {
    let test = postgres().await;
    let url = format!("{}?options=-c%20synchronous_commit%3Doff", test.url());
    let opened = Db::open_postgres(&url, &SCHEMA, &Options::default()).await;
    let Err(Error::Refused(reason)) = opened else {
        panic!("{opened:?}")
    };
    assert!(reason.contains("synchronous_commit"), "{reason}");
    let lose = |tx: &mut Tx<'_>| tx.execute(&LOSE_WRITES, &[]).map(drop);
    test.db().write(Write::new("lose"), lose).await.unwrap();
    let opened = test.open_again(&SCHEMA).await;
    assert!(matches!(opened, Err(Error::Refused(_))), "{opened:?}");
}

#[tokio::test]
async fn only_relaxed_batches_do_not_wait_for_the_disk() {
    let test = postgres().await;
    let waits = |tx: &mut Tx<'_>| tx.query_one(&COMMIT_WAITS, &[], |row| row.truth(0));
    for (write, wanted) in [
        (Write::new("durable"), true),
        (Write::new("relaxed").relaxed(), false),
        (Write::new("durable"), true),
    ] {
        assert_eq!(test.db().write(write, waits).await.unwrap(), Some(wanted));
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_refused() {
    let test = postgres().await;
    // Eight bytes of text would pass for an integer.
    let wrong: [&'static [Value<'static>]; 3] = [
        &[Value::Text("8 bytes!"), Value::Text("name")],
        &[Value::Int(1), Value::Bytes(b"name")],
        &[Value::Int(1), Value::Int(1)],
    ];
    for params in wrong {
        let written = test
            .db()
            .write(Write::new("wrong"), move |tx| {
                tx.execute(&PAIR_ADD, params).map(drop)
            })
            .await;
        assert!(
            matches!(written, Err(Error::Statement { .. })),
            "{written:?}"
        );
    }
    let into_bytes = test.db().write(Write::new("wrong"), |tx| {
        tx.execute_one(
            &PAIR_ADD_DATA,
            &[1.into(), "name".into(), Value::Text("text")],
        )
    });
    assert!(matches!(into_bytes.await, Err(Error::Statement { .. })));
}

#[tokio::test]
async fn an_error_says_what_happened_but_not_which_values() {
    let test = postgres().await;
    write_pair(test.db(), 1).await.unwrap();
    let Err(Error::Constraint { source, .. }) = write_pair(test.db(), 1).await else {
        panic!("a key was used twice")
    };
    let said = source.to_string();
    assert!(
        said.contains("unique constraint") && said.contains("23505"),
        "{said}"
    );
    assert!(!said.contains("(id)=(1)"), "{said}");
}

#[tokio::test]
async fn a_failed_select_in_a_write_or_read_spoils_nothing_else() {
    let test = postgres().await;
    let held = hold(test.db()).await;
    let slot = test.db().slot().await.unwrap();
    let divide = |tx: &mut Tx<'_>| {
        tx.query_one(&DIVIDE_BY_ZERO, &[0.into()], |row| row.int(0))
            .map(drop)
    };
    let failing = slot.submit(
        Write::new("failing"),
        divide,
        |_, _, ()| Answer::Ok(()),
        || {},
    );
    let slot = test.db().slot().await.unwrap();
    let good = slot.submit(
        Write::new("good"),
        |tx| add_pair(tx, 1),
        |_, _, ()| Answer::Ok(()),
        || {},
    );
    held.let_go().await;
    assert!(matches!(failing.await, Err(Error::Statement { .. })));
    good.await.unwrap();
    for _ in 0..10 {
        let read = test.db().read("divide", move |tx| {
            divide(tx).ok();
            Answer::Ok(7)
        });
        assert_eq!(read.await.unwrap(), 7);
        assert_eq!(pair_ids(test.db()).await, [1]);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().to_str().unwrap().replace('/', "%2F");
    let opened = Db::open_postgres(
        &format!("postgres://postgres@{socket}/x"),
        &SCHEMA,
        &Options::default(),
    )
    .await;
    let Err(Error::Unavailable(reason)) = opened else {
        panic!("{opened:?}")
    };
    assert!(reason.contains("No such file"), "{reason}");
    let opened = Db::open_postgres(
        "postgres://user:hidden@host:notaport/x",
        &SCHEMA,
        &Options::default(),
    )
    .await;
    let Err(Error::Refused(reason)) = opened else {
        panic!("{opened:?}")
    };
    assert!(!reason.contains("hidden"), "{reason}");
}
