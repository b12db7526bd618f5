//! The program on PostgreSQL.

use starling_db::Dialect;
use starling_store::SCHEMA;
use starling_testkit::TestDb;

use crate::program::Folder;

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_and_keeps_the_signing_key_in_the_database() {
    let db = TestDb::open(Dialect::Postgres, &SCHEMA).await;
    let folder = Folder::new();
    std::fs::create_dir(folder.data()).unwrap();
    let key = folder.data().join("signing.key");
    // A file on the first start is taken over.
    let file = "ed25519 abc AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";
    std::fs::write(&key, file).unwrap();
    folder.configure(
        "localhost",
        "./data",
        &format!("[database]\nurl = \"{}\"", db.url()),
    );
    folder.user(&["create", "ann"], "secret\n").ok();
    let server = folder.serve();
    let token = server.login("ann", "secret").unwrap();
    assert_eq!(server.stop(), Some(0));

    std::fs::remove_file(&key).unwrap();
    let server = folder.serve();
    assert!(server.knows(&token));
    assert_eq!(server.stop(), Some(0));
    let stored = db
        .db()
        .read("test", starling_store::server::signing_key_read)
        .await;
    assert_eq!(stored.unwrap().as_deref(), Some(file));
    assert!(!key.exists());
    assert!(!folder.data().join("starling.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_server_uses_is_refused() {
    let db = TestDb::open(Dialect::Postgres, &SCHEMA).await;
    let [first, second] = [Folder::new(), Folder::new()];
    for folder in [&first, &second] {
        folder.configure(
            "localhost",
            "./data",
            &format!("[database]\nurl = \"{}\"", db.url()),
        );
    }
    let server = first.serve();
    let refused = second.user(&["create", "ann"], "secret\n");
    assert!(
        refused.error().contains("another Starling"),
        "{}",
        refused.error()
    );
    assert_eq!(server.stop(), Some(0));
    second.user(&["create", "ann"], "secret\n").ok();
}
