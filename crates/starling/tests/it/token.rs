//! The `token` commands, through the socket and on the database itself.

use serde_json::json;

use crate::program::Folder;

#[test]
fn tokens_are_made_listed_and_revoked_whether_the_server_runs_or_not() {
    let folder = Folder::with("");
    folder.configure("localhost", "./data", "guests = false");
    let text = std::fs::read_to_string(folder.path().join("starling.toml")).unwrap();
    let text = text.replace("mode = \"open\"", "mode = \"token\"");
    std::fs::write(folder.path().join("starling.toml"), text).unwrap();
    assert_eq!(folder.serve().stop(), Some(0));
    let run = |arguments: &[&str]| {
        let all: Vec<&str> = [&["token", "--config", "starling.toml"], arguments].concat();
        folder.run(&all)
    };
    let made = run(&["create", "spring", "--uses", "1", "--expires", "2h"]);
    assert_eq!(made.ok(), "spring");
    let server = folder.serve();
    let other = run(&["create"]);
    assert_eq!(other.ok().len(), 16);
    let list = run(&["list"]);
    let lines: Vec<&str> = list.ok().lines().collect();
    let spring = lines
        .iter()
        .find(|line| line.starts_with("spring\t0 of 1 used\tuntil "));
    assert!(lines.len() == 2 && spring.is_some(), "{lines:?}");
    let endless = format!("{}\t0 used\tfor ever", other.ok());
    assert!(lines.contains(&endless.as_str()), "{lines:?}");

    let register = |name: &str, token: &str| {
        let auth = json!({ "type": "m.login.registration_token", "token": token });
        let body = json!({ "username": name, "password": "secret", "auth": auth });
        server
            .call("POST", "/_matrix/client/v3/register", "", &body)
            .0
    };
    assert_eq!(register("ann", "spring"), 200);
    assert_eq!(register("bob", "spring"), 401);
    let token = other.ok();
    let revoked = run(&["revoke", token]);
    assert_eq!(revoked.ok(), format!("{token} is revoked"));
    assert_eq!(register("bob", token), 401);
    assert!(run(&["revoke", token]).error().contains(token));
    assert!(run(&["create", "spring"]).error().contains("already"));
    assert!(run(&["create", "two words"]).error().contains("A-Z"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn lifetimes_are_numbers_with_a_unit() {
    let folder = Folder::with("");
    assert_eq!(folder.serve().stop(), Some(0));
    for text in ["", "x", "0h", "-1d", "2y", "2hh", "1h30m", "99999999999"] {
        let expires = format!("--expires={text}");
        let ended = folder.run(&["token", "create", "--config", "starling.toml", &expires]);
        assert_ne!(ended.status, Some(0), "{text}");
        assert!(ended.err.contains("--expires"), "{ended:?}");
    }
}
