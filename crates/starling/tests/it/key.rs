//! The key that the server signs with, and the one it had before.

use serde_json::Value;
use starling_db::Dialect;
use starling_store::SCHEMA;
use starling_testkit::TestDb;

use crate::program::{Folder, Running};

/// A folder whose second listener is for other servers, too.
fn folder(more: &str) -> Folder {
    let folder = Folder::with(more);
    let path = folder.path().join("starling.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("\"metrics\"]", "\"metrics\", \"federation\"]");
    std::fs::write(path, text).unwrap();
    folder
}

fn published(server: &Running) -> Value {
    let answer = server.http(1, "GET", "/_matrix/key/v2/server", "", "");
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap()
}

fn rotate(folder: &Folder) {
    let server = folder.serve();
    let before = published(&server);
    let refused = folder.run(&["key", "rotate", "--config", "starling.toml"]);
    assert!(refused.error().contains("stop it first"), "{refused:?}");
    assert_eq!(server.stop(), Some(0));
    let rotated = folder.run(&["key", "rotate", "--config", "starling.toml"]);
    let server = folder.serve();
    let after = published(&server);
    assert_eq!(server.stop(), Some(0));
    let (old_id, old) = before["verify_keys"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    let (new_id, new) = after["verify_keys"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    assert_eq!(rotated.ok(), format!("{new_id} replaces {old_id}"));
    assert_ne!(old["key"], new["key"]);
    assert_eq!(after["old_verify_keys"][old_id]["key"], old["key"]);
    assert!(after["old_verify_keys"][old_id]["expired_ts"].is_i64());
    assert!(after["signatures"]["localhost"][new_id].is_string());
}

/// `GET /_matrix/key/v2/server`
#[test]
fn a_key_that_was_replaced_is_published_as_an_old_one() {
    let folder = folder("");
    rotate(&folder);
    rotate(&folder);
    let server = folder.serve();
    let old = published(&server)["old_verify_keys"]
        .as_object()
        .unwrap()
        .len();
    assert_eq!(old, 2);
    assert_eq!(server.stop(), Some(0));
}

/// `GET /_matrix/key/v2/server`
#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_that_was_in_the_database() {
    let db = TestDb::open(Dialect::Postgres, &SCHEMA).await;
    let folder = folder(&format!("[database]\nurl = \"{}\"", db.url()));
    rotate(&folder);
    assert!(!folder.data().join("signing.key").exists());
}

#[test]
fn without_a_server_there_is_no_key_to_replace() {
    let folder = folder("");
    let refused = folder.run(&["key", "rotate", "--config", "starling.toml"]);
    assert!(
        refused.error().contains("there is no database"),
        "{refused:?}"
    );
    assert!(!folder.data().exists());
}

/// `GET /_matrix/key/v2/server`
#[test]
fn a_server_that_talks_to_no_other_publishes_nothing() {
    let folder = folder("[federation]\nenabled = false");
    let server = folder.serve();
    for path in ["/_matrix/key/v2/server", "/_matrix/federation/v1/version"] {
        assert_eq!(server.http(1, "GET", path, "", "").status, 404, "{path}");
    }
    assert_eq!(server.stop(), Some(0));
}
