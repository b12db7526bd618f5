//! The `room` commands, through the socket and on the database itself.

use std::time::Duration;

use serde_json::json;

use crate::program::{Folder, Running};

/// Waits until it is so, some 30 seconds at most.
fn until(mut is_so: impl FnMut() -> bool, otherwise: &str) {
    let is_in_time = (0..1_500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        is_so()
    });
    assert!(is_in_time, "{otherwise}");
}

#[test]
fn a_room_is_purged_whether_the_server_runs_or_not() {
    let folder = Folder::with("");
    let server = folder.serve();
    let purge = |arguments: &[&str]| {
        let all: Vec<&str> = [&["room", "--config", "starling.toml", "purge"], arguments].concat();
        folder.run(&all)
    };
    let auth = json!({ "type": "m.login.dummy" });
    let body = json!({ "username": "ann", "password": "secret", "auth": auth });
    let ann = server.call("POST", "/_matrix/client/v3/register", "", &body);
    let ann = ann.1["access_token"].as_str().unwrap().to_owned();
    let create = || {
        let made = server.call("POST", "/_matrix/client/v3/createRoom", &ann, &json!({}));
        made.1["room_id"].as_str().unwrap().to_owned()
    };
    let (room, other) = (create(), create());
    assert!(purge(&["!none:localhost"]).error().contains("no room"));
    assert!(purge(&["none"]).error().contains("no room id"));
    let refused = purge(&[&room]);
    assert!(refused.error().contains("1 users of this server are in"));
    assert_eq!(
        purge(&[&room, "--force"]).ok(),
        format!("{room} is being deleted; 1 users of this server leave it first")
    );
    let joined = |server: &Running| {
        let path = "/_matrix/client/v3/joined_rooms";
        server.call("GET", path, &ann, &json!({})).1["joined_rooms"].clone()
    };
    until(
        || joined(&server) == json!([other]),
        "the user doesn't leave",
    );
    until(
        || purge(&[&room]).status != Some(0),
        "the purge doesn't end",
    );
    assert!(purge(&[&room]).error().contains("no room"));
    assert_eq!(server.stop(), Some(0));

    assert!(purge(&[&other]).error().contains("--force"));
    assert_eq!(
        purge(&[&other, "--force"]).ok(),
        format!(
            "{other} will be deleted once the server runs; 1 users of this server leave it first"
        )
    );
    let server = folder.serve();
    until(|| joined(&server) == json!([]), "the user doesn't leave");
    assert_eq!(server.stop(), Some(0));
}
