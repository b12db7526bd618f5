//! `starling restored`.

use starling_db::{Db, Dialect, Options, Schema, Tx, Write};
use starling_store::SCHEMA;
use starling_store::server::server_name_record;
use starling_testkit::TestDb;

use crate::program::Folder;

const RESTORED: [&str; 3] = ["restored", "--config", "starling.toml"];

/// The first start, and an account.
fn begin(folder: &Folder) {
    assert_eq!(folder.serve().stop(), Some(0));
    folder.user(&["create", "ann"], "secret\n").ok();
}

fn restore(folder: &Folder) {
    begin(folder);
    let server = folder.serve();
    let token = server.login("ann", "secret").unwrap();
    let refused = folder.run(&RESTORED);
    assert!(refused.error().contains("stop it first"), "{refused:?}");
    assert_eq!(server.stop(), Some(0));
    let mut last = 1;
    for _ in 0..2 {
        let done = folder.run(&RESTORED);
        let told = done.ok();
        let epoch = told
            .strip_prefix("epoch ")
            .and_then(|it| it.split(' ').next());
        let epoch: i64 = epoch.unwrap().parse().unwrap();
        assert!(epoch > last, "{told}");
        last = epoch;
        assert!(told.ends_with("the server can start now"), "{told}");
    }
    let server = folder.serve();
    assert!(server.knows(&token));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn it_begins_another_epoch_while_the_server_does_not_run() {
    restore(&Folder::with(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_on_postgresql_too() {
    let db = TestDb::open(Dialect::Postgres, &SCHEMA).await;
    restore(&Folder::with(&format!(
        "[database]\nurl = \"{}\"",
        db.url()
    )));
}

#[test]
fn there_must_be_a_database() {
    let folder = Folder::with("");
    let refused = folder.run(&RESTORED);
    assert!(
        refused.error().contains("there is no database"),
        "{refused:?}"
    );
    assert!(!folder.data().exists());
}

/// The server runs for a while, in which something happens.
fn run(folder: &Folder, name: &str) {
    let server = folder.serve();
    let token = server.login("ann", "secret").unwrap();
    let path = "/_matrix/client/v3/profile/@ann:localhost/displayname";
    let head = format!("Authorization: Bearer {token}\r\n");
    let body = format!("{{\"displayname\":\"{name}\"}}");
    assert_eq!(server.http(0, "PUT", path, &head, &body).status, 200);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_older_copy_is_noticed_at_the_next_start() {
    let folder = Folder::with("");
    let database = folder.data().join("starling.db");
    begin(&folder);
    run(&folder, "Ann");
    let older = std::fs::read(&database).unwrap();
    run(&folder, "Anna");
    run(&folder, "Anne");
    std::fs::write(&database, &older).unwrap();
    let refused = folder.run(&["serve", "--config", "starling.toml"]);
    assert!(
        refused
            .err
            .contains("run `starling restored --config starling.toml` first"),
        "{refused:?}"
    );
    folder.run(&RESTORED).ok();
    // Also before it has started: another copy may be put in the place of that.
    std::fs::write(&database, older).unwrap();
    let refused = folder.run(&["serve", "--config", "starling.toml"]);
    assert!(refused.err.contains("is an older copy"), "{refused:?}");
    folder.run(&RESTORED).ok();
    run(&folder, "Annette");
    // Nor does a new one take its place unnoticed.
    std::fs::remove_file(&database).unwrap();
    let refused = folder.run(&["serve", "--config", "starling.toml"]);
    assert!(refused.err.contains("had another database"), "{refused:?}");
    std::fs::remove_file(folder.data().join("starling.head")).unwrap();
    begin(&folder);
    run(&folder, "Ann");
}

#[test]
fn a_copy_that_is_damaged_is_refused_and_left_as_it_is() {
    let folder = Folder::with("");
    let database = folder.data().join("starling.db");
    begin(&folder);
    let whole = std::fs::read(&database).unwrap();
    let mut damaged = whole.clone();
    let end = damaged.len();
    damaged[end / 2..end / 2 + 16_384].fill(0);
    std::fs::write(&database, &damaged).unwrap();
    let refused = folder.run(&RESTORED);
    assert!(refused.error().contains("is damaged"), "{refused:?}");
    assert!(refused.error().contains("starling.db-wal"), "{refused:?}");
    assert!(std::fs::read(&database).unwrap() == damaged);
    std::fs::write(&database, &whole).unwrap();
    folder.run(&RESTORED).ok();
    assert_eq!(folder.serve().stop(), Some(0));
}

#[tokio::test]
async fn so_is_one_from_before_logs_had_ids() {
    let folder = Folder::with("");
    begin(&folder);
    let database = folder.data().join("starling.db");
    std::fs::remove_file(&database).unwrap();
    let before_ids = Schema {
        migrations: &SCHEMA.migrations[..25],
        ..SCHEMA
    };
    let db = Db::open_sqlite(&database, &before_ids, &Options::default()).unwrap();
    let record = |tx: &mut Tx<'_>| server_name_record(tx, "localhost");
    db.write(Write::new("test"), record).await.unwrap();
    db.close().await;
    for _ in 0..2 {
        let refused = folder.run(&["serve", "--config", "starling.toml"]);
        let way = "run `starling restored --config starling.toml` first";
        assert!(refused.err.contains(way), "{refused:?}");
    }
    folder.run(&RESTORED).ok();
    assert_eq!(folder.serve().stop(), Some(0));
}
