//! The `report` commands, through the socket and on the database itself.

use serde_json::json;

use crate::program::Folder;

#[test]
fn reports_are_listed_and_deleted_whether_the_server_runs_or_not() {
    let folder = Folder::with("");
    let server = folder.serve();
    let run = |arguments: &[&str]| {
        let all: Vec<&str> = [&["report", "--config", "starling.toml"], arguments].concat();
        folder.run(&all)
    };
    assert_eq!(run(&["list"]).ok(), "");
    let register = |name: &str| {
        let auth = json!({ "type": "m.login.dummy" });
        let body = json!({ "username": name, "password": "secret", "auth": auth });
        let answer = server.call("POST", "/_matrix/client/v3/register", "", &body);
        answer.1["access_token"].as_str().unwrap().to_owned()
    };
    let (ann, _) = (register("ann"), register("bob"));
    let path = "/_matrix/client/v3/users/%40bob%3Alocalhost/report";
    let body = json!({ "reason": "spam\u{1b}[2J\nand more" });
    assert_eq!(server.call("POST", path, &ann, &body).0, 200);
    let list = run(&["list"]);
    let fields: Vec<&str> = list.ok().split('\t').collect();
    let [number, time, by, what, reason] = fields[..] else {
        panic!("{fields:?}")
    };
    assert_eq!(
        (number, by, what),
        ("1", "@ann:localhost", "user @bob:localhost")
    );
    assert!(time.ends_with(" GMT"), "{time}");
    // Nothing of it steers the terminal or begins another line.
    assert_eq!(reason, r"spam\u{1b}[2J\nand more");
    assert_eq!(server.stop(), Some(0));

    assert_eq!(run(&["list"]).ok(), list.ok());
    assert_eq!(run(&["delete", "1"]).ok(), "report 1 is deleted");
    assert_eq!(run(&["list"]).ok(), "");
    assert!(run(&["delete", "1"]).error().contains("no report 1"));
}
