//! `config`, `version`, and what is no command.

use starling_events::RoomVersion;

use crate::program::Folder;

#[test]
fn the_example_is_a_configuration() {
    let folder = Folder::new();
    let example = folder.run(&["config", "default"]);
    std::fs::write(folder.path().join("a.toml"), example.ok()).unwrap();
    let checked = folder.run(&["config", "check", "a.toml"]);
    assert!(checked.ok().ends_with("a.toml: no errors"), "{checked:?}");
    assert!(
        checked
            .ok()
            .starts_with("note: other servers can reach this one only if"),
        "{checked:?}"
    );
}

#[test]
fn every_room_version_that_is_built_can_be_the_default() {
    let built = RoomVersion::ALL.map(RoomVersion::as_str);
    assert_eq!(starling_config::ROOM_VERSIONS, built);
}

#[test]
fn a_mistake_is_named_with_its_line_and_the_fix() {
    let folder = Folder::new();
    let cases = [
        (
            "server_name = \"x.org\"\nfoo = 1\n",
            ["line 2", "foo", "there are server_name"],
        ),
        (
            "server_name = \"x.org\"\n[rooms]\ndefault_version = \"13\"\n",
            [
                "line 3",
                "rooms.default_version",
                "write one of \"1\", \"2\"",
            ],
        ),
        (
            "server_name = \"x.org\"\n[registration]\nmode = \"ajar\"\n",
            ["line 3", "registration.mode", "open"],
        ),
        (
            "server_name = \"x.org\"\n[logging]\nfilter = \"loud\"\n",
            ["line 3", "logging.filter", "\"loud\" is no level"],
        ),
        (
            "server_name = \"x.org\"\n[logging]\nfilter = \"info,x=loud\"\n",
            ["line 3", "logging.filter", "is no filter"],
        ),
        (
            "server_name = \"x.org\"\n[[listeners]]\ntls = { certificate = \"a.toml\", key = \"a.toml\" }\n",
            ["line 3", "listeners.0.tls", "a.toml holds no certificate"],
        ),
        (
            "server_name = \"x.org\"\n[outbound]\nextra_ca_files = [\"a.toml\"]\n",
            [
                "line 3",
                "outbound.extra_ca_files.0",
                "a.toml holds no certificate of an authority",
            ],
        ),
        (
            "data_dir = \"x\"\n",
            ["a.toml", "server_name", "example.org"],
        ),
    ];
    for (text, parts) in cases {
        std::fs::write(folder.path().join("a.toml"), text).unwrap();
        for command in [
            &["config", "check", "a.toml"][..],
            &["serve", "--config", "a.toml"],
        ] {
            let ended = folder.run(command);
            for part in parts {
                assert!(ended.error().contains(part), "{part:?} is not in {ended:?}");
            }
        }
    }
    let missing = folder.run(&["config", "check", "b.toml"]);
    assert!(
        missing.error().contains("cannot read b.toml"),
        "{missing:?}"
    );
}

#[test]
fn open_registration_towards_the_world_must_be_meant() {
    let folder = Folder::new();
    let listeners = r#"[{ address = "0.0.0.0:0" }]"#;
    // The development profile is open, and may not listen there.
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_starling"))
        .arg("serve")
        .current_dir(folder.path())
        .env("STARLING__LISTENERS", listeners)
        .output()
        .unwrap();
    let ended = crate::program::Ended::from(ended);
    assert!(ended.error().contains("registration"), "{ended:?}");
    assert!(!folder.data().exists());
}

#[test]
fn the_version_is_told() {
    let expected = format!("starling {} (commit ", env!("CARGO_PKG_VERSION"));
    for word in ["version", "--version"] {
        let ended = Folder::new().run(&[word]);
        assert!(ended.ok().starts_with(&expected), "{ended:?}");
        assert!(ended.ok().contains("schema version "), "{ended:?}");
    }
}

#[test]
fn what_is_no_command_fails() {
    for (args, problem) in [
        (&[][..], "a command is missing"),
        (&["fly"], "'fly'"),
        (&["token", "create", "--uses", "0"], "--uses"),
        (&["user", "create"], "<NAME>"),
        (&["serve", "--log-format", "xml"], "'xml'"),
    ] {
        let ended = Folder::new().run(args);
        assert_eq!(ended.status, Some(2), "{args:?}: {ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{args:?}: {ended:?}");
        assert!(ended.err.contains(problem), "{args:?}: {ended:?}");
    }
}
