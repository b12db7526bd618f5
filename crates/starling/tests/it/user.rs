//! The `user` commands, through the socket and on the database itself.

use std::os::unix::fs::PermissionsExt as _;

use crate::program::{Ended, Folder};

#[test]
fn accounts_are_made_whether_the_server_runs_or_not() {
    let folder = Folder::with("");
    assert_eq!(folder.serve().stop(), Some(0));
    let created = folder.user(&["create", "ann", "--admin"], "first\n");
    assert_eq!(created.ok(), "@ann:localhost created");
    let server = folder.serve();
    std::fs::write(folder.path().join("password"), "second\nnot this\n").unwrap();
    let created = folder.user(
        &["create", "@bob:localhost", "--password-file", "password"],
        "",
    );
    assert_eq!(created.ok(), "@bob:localhost created");
    let listed = "@ann:localhost\tadmin\tactive\n@bob:localhost\tuser\tactive";
    assert_eq!(folder.user(&["list"], "").ok(), listed);
    assert!(server.login("ann", "first").is_some());
    assert!(server.login("bob", "second").is_some());
    assert_eq!(server.stop(), Some(0));
    assert_eq!(folder.user(&["list"], "").ok(), listed);
}

#[test]
fn no_database_is_made_for_an_account() {
    let folder = Folder::with("");
    let check = |ended: Ended| {
        let error = ended.error();
        assert!(
            error.contains("data/starling.db") && error.contains("--config"),
            "{error}"
        );
        assert!(!folder.data().join("starling.db").exists());
    };
    check(folder.user(&["create", "ann"], "secret\n"));
    check(folder.run(&["user", "list"]));
    assert!(!folder.data().exists());
    std::fs::create_dir(folder.data()).unwrap();
    check(folder.user(&["create", "ann"], "secret\n"));
}

#[test]
fn without_a_file_the_data_is_named() {
    let folder = Folder::new();
    assert_eq!(folder.serve_for_development().stop(), Some(0));
    let listed = folder.run(&["user", "list"]);
    assert_eq!(listed.ok(), "");
    assert!(
        listed.err.contains(folder.data().to_str().unwrap()),
        "{listed:?}"
    );
}

#[test]
fn a_new_password_and_a_deactivation_end_the_sessions_of_a_server_that_runs() {
    let folder = Folder::with("");
    let server = folder.serve();
    folder.user(&["create", "ann"], "first\n").ok();
    let token = server.login("ann", "first").unwrap();
    assert!(server.knows(&token));
    folder.user(&["set-password", "ann"], "second\n").ok();
    assert!(!server.knows(&token));
    assert!(server.login("ann", "first").is_none());
    let token = server.login("ann", "second").unwrap();
    assert_eq!(
        folder.user(&["deactivate", "ann"], "").ok(),
        "@ann:localhost is deactivated"
    );
    assert!(!server.knows(&token));
    assert!(server.login("ann", "second").is_none());
    assert_eq!(
        folder.user(&["list"], "").ok(),
        "@ann:localhost\tuser\tdeactivated"
    );
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let folder = Folder::with("");
    assert_eq!(folder.serve().stop(), Some(0));
    folder.user(&["create", "ann"], "secret\n").ok();
    let check = || {
        for (args, input, part) in [
            (&["create", "ann"][..], "x\n", "the name is taken"),
            (
                &["create", "no name"],
                "x\n",
                "no user id can have this name",
            ),
            (
                &["create", "@bob:elsewhere"],
                "x\n",
                "no user id of localhost",
            ),
            (&["create", "bob"], "", "the password is empty"),
            (
                &["create", "bob", "--password-file", "none"],
                "",
                "cannot read none",
            ),
            (&["set-password", "bob"], "x\n", "there is no account bob"),
            (&["deactivate", "bob"], "", "there is no account bob"),
        ] {
            let ended = folder.user(args, input);
            assert!(ended.error().contains(part), "{args:?}: {ended:?}");
        }
    };
    check();
    let server = folder.serve();
    check();
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_socket_is_reached_in_a_folder_with_a_long_name_and_by_its_owner_only() {
    let folder = Folder::new();
    let long = format!("./{}/data", "d".repeat(150));
    folder.configure("localhost", &long, "");
    let server = folder.serve();
    assert_eq!(
        folder.user(&["create", "ann"], "secret\n").ok(),
        "@ann:localhost created"
    );
    assert!(server.login("ann", "secret").is_some());
    let socket = folder.path().join(&long).join("starling.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.stop(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_a_crash_left_behind_is_in_nobodys_way() {
    let folder = Folder::with("");
    let server = folder.serve();
    folder.user(&["create", "ann"], "secret\n").ok();
    server.kill();
    assert!(folder.data().join("starling.sock").exists());
    assert_eq!(
        folder.user(&["list"], "").ok(),
        "@ann:localhost\tuser\tactive"
    );
    let server = folder.serve();
    assert_eq!(
        folder.user(&["list"], "").ok(),
        "@ann:localhost\tuser\tactive"
    );
    assert!(server.login("ann", "secret").is_some());
}
