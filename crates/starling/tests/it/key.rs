//! The key that the server signs with, and the one it had before.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

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

const ROTATE: [&str; 4] = ["key", "rotate", "--config", "starling.toml"];
const ROTATE_LOST: [&str; 5] = ["key", "rotate", "--lost", "--config", "starling.toml"];
const RESTORED: [&str; 3] = ["restored", "--config", "starling.toml"];
const RESTORED_WITH_KEY: [&str; 4] = ["restored", "--key-replaced", "--config", "starling.toml"];

/// The line of another key, by its version.
fn other_key(version: &str) -> String {
    format!("ed25519 {version} {}\n", "A".repeat(43))
}

/// The first start, and the file with the key that it made.
fn begin(folder: &Folder) -> PathBuf {
    assert_eq!(folder.serve().stop(), Some(0));
    folder.data().join("signing.key")
}

/// The server doesn't start, and says this.
fn refused(folder: &Folder, parts: &[&str]) {
    let ended = folder.run(&["serve", "--config", "starling.toml"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let why = ended.err.lines().last().unwrap();
    for part in parts {
        assert!(why.contains(part), "{part:?} is not in {why}");
    }
}

/// The ids of the key that is published and of the old ones.
fn ids(server: &Running) -> (String, Vec<String>) {
    let keys = published(server);
    let ids = |keys: &Value| keys.as_object().unwrap().keys().cloned().collect();
    let (current, old): (Vec<String>, _) =
        (ids(&keys["verify_keys"]), ids(&keys["old_verify_keys"]));
    (current.concat(), old)
}

#[test]
fn another_key_in_the_file_is_refused_also_under_the_same_id() {
    let folder = folder("");
    let file = begin(&folder);
    let key = std::fs::read_to_string(&file).unwrap();
    let version = key.split(' ').nth(1).unwrap();
    for other in [version, "other"] {
        std::fs::write(&file, other_key(other)).unwrap();
        let (other, own) = (
            format!("is ed25519:{other} "),
            format!("signed with ed25519:{version} "),
        );
        refused(
            &folder,
            &[
                "signing.key",
                &other,
                &own,
                "starling restored",
                "key rotate --lost",
            ],
        );
        let refused = folder.run(&ROTATE);
        assert!(refused.error().contains(&own), "{refused:?}");
        let refused = folder.run(&ROTATE_LOST);
        assert!(
            refused.error().contains("move it away first"),
            "{refused:?}"
        );
    }
    std::fs::write(&file, key).unwrap();
    let refused = folder.run(&ROTATE_LOST);
    assert!(refused.error().contains("is not lost"), "{refused:?}");
    assert_eq!(folder.serve().stop(), Some(0));
}

#[test]
fn a_key_that_is_lost_is_replaced_when_that_is_asked_for_and_stays_published() {
    let folder = folder("");
    let file = begin(&folder);
    let server = folder.serve();
    let (lost, _) = ids(&server);
    assert_eq!(server.stop(), Some(0));
    std::fs::remove_file(&file).unwrap();
    refused(
        &folder,
        &["signing.key is missing", &lost, "key rotate --lost"],
    );
    assert!(!file.exists());
    let replaced = folder.run(&ROTATE_LOST);
    assert!(
        replaced.ok().ends_with(&format!(" replaces {lost}")),
        "{replaced:?}"
    );
    let server = folder.serve();
    let (current, old) = ids(&server);
    assert_ne!(current, lost);
    assert_eq!(old, [lost]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_replacement_that_was_cut_short_is_finished_or_has_not_begun() {
    let folder = folder("");
    let file = begin(&folder);
    let staged = folder.data().join("signing.new");
    let old = std::fs::read_to_string(&file).unwrap();
    // Before the database noted it.
    std::fs::write(&staged, other_key("other")).unwrap();
    assert_eq!(folder.serve().stop(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), old);
    // After that.
    folder.run(&ROTATE).ok();
    let new = std::fs::read_to_string(&file).unwrap();
    std::fs::rename(&file, &staged).unwrap();
    std::fs::write(&file, &old).unwrap();
    assert_eq!(folder.serve().stop(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), new);
    assert!(!staged.exists());
}

#[test]
fn a_copy_from_before_the_key_was_replaced_takes_the_newer_key_when_it_is_put_back() {
    let folder = folder("");
    let file = begin(&folder);
    let database = folder.data().join("starling.db");
    let copy = std::fs::read(&database).unwrap();
    let before = std::fs::read_to_string(&file).unwrap();
    folder.run(&ROTATE).ok();
    std::fs::write(&database, copy).unwrap();
    refused(&folder, &["run `starling restored --config starling.toml`"]);
    // Whether it is the newer one, or that of another server, only its administrator knows.
    let asked = folder.run(&RESTORED);
    assert!(asked.error().contains("add --key-replaced if"), "{asked:?}");
    let restored = folder.run(&RESTORED_WITH_KEY);
    let version = before.split(' ').nth(1).unwrap();
    let line = format!(" replaces ed25519:{version}");
    let told = restored.ok();
    assert!(told.lines().next().unwrap().ends_with(&line), "{told}");
    assert!(told.ends_with("the server can start now"), "{told}");
    let server = folder.serve();
    assert_eq!(ids(&server).1, [format!("ed25519:{version}")]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_key_that_was_replaced_is_not_taken_again_when_a_copy_is_put_back() {
    let folder = folder("");
    let file = begin(&folder);
    let old = std::fs::read_to_string(&file).unwrap();
    folder.run(&ROTATE).ok();
    let version = old.split(' ').nth(1).unwrap();
    let new = std::fs::read_to_string(&file).unwrap();
    let disguised = old.replace(version, "other");
    // Nor another one under the id of one that was.
    for wrong in [&old, &disguised, &other_key(version)] {
        std::fs::write(&file, wrong).unwrap();
        let refused = folder.run(&RESTORED_WITH_KEY);
        assert!(
            refused.error().contains("put the right file back, or if"),
            "{refused:?}"
        );
    }
    std::fs::write(&file, new).unwrap();
    folder.run(&RESTORED).ok();
    assert_eq!(folder.serve().stop(), Some(0));
}

#[test]
fn that_the_key_is_missing_or_no_key_is_said_when_a_copy_is_put_back() {
    let folder = folder("");
    let file = begin(&folder);
    std::fs::write(&file, "garbage").unwrap();
    for command in [&RESTORED[..], &ROTATE_LOST] {
        let refused = folder.run(command);
        assert!(
            refused.error().contains("move this one away"),
            "{refused:?}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    let restored = folder.run(&RESTORED);
    let last = restored.ok().lines().last().unwrap();
    let (missing, way) = (
        "can't start yet",
        "key rotate --lost --config starling.toml`",
    );
    assert!(last.contains(missing) && last.contains(way), "{last}");
    refused(&folder, &["signing.key is missing"]);
    folder.run(&ROTATE_LOST).ok();
    assert_eq!(folder.serve().stop(), Some(0));
}

#[test]
fn a_key_that_everybody_can_read_is_warned_of() {
    let folder = folder("");
    let file = begin(&folder);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let server = folder.serve();
    let is_warned = |line: &String| line.contains("WARN") && line.contains("chmod 600");
    assert!(server.started.iter().any(is_warned), "{:?}", server.started);
    assert_eq!(server.stop(), Some(0));
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
