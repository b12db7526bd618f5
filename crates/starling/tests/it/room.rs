//! The `room` commands, through the socket and on the database itself.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::program::{Folder, Running};

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
        format!("{room} is being deleted")
    );
    let until = Instant::now() + Duration::from_secs(30);
    let joined = |server: &Running| {
        let path = "/_matrix/client/v3/joined_rooms";
        server.call("GET", path, &ann, &json!({})).1["joined_rooms"].clone()
    };
    while joined(&server) != json!([other]) {
        assert!(Instant::now() < until, "the user doesn't leave");
        std::thread::sleep(Duration::from_millis(20));
    }
    while purge(&[&room]).status == Some(0) {
        assert!(Instant::now() < until, "the purge doesn't end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(purge(&[&room]).error().contains("no room"));
    assert_eq!(server.stop(), Some(0));

    assert!(purge(&[&other]).error().contains("--force"));
    assert_eq!(
        purge(&[&other, "--force"]).ok(),
        format!("{other} will be deleted once the server runs")
    );
    let server = folder.serve();
    while joined(&server) != json!([]) {
        assert!(Instant::now() < until, "the user doesn't leave");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.stop(), Some(0));
}
