//! Each check of `cargo xtask` finds what it is for, and passes what is right.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use xtask::footprint::{self, Footprint, READY_LIMIT, RESIDENT_LIMIT_BYTES};
use xtask::instructions::{self, Counts, Recorded, Verdict};
use xtask::routes::{self, Test};
use xtask::tidy::tidy;

/// Checks a workspace of these files, and returns what was found as lines.
fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let folder = TempDir::new().expect("a temporary folder");
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    tidy(folder.path())
        .unwrap()
        .findings
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn manifest(dependencies: &[&str], for_tests: &[&str]) -> String {
    let list = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| format!("{name}.workspace = true"))
            .collect()
    };
    let (dependencies, for_tests) = (list(dependencies).join("\n"), list(for_tests).join("\n"));
    format!("[dependencies]\n{dependencies}\n\n[dev-dependencies]\n{for_tests}\n")
}

/// What is found in a crate's manifest with these dependencies.
fn dependency_findings(krate: &str, dependencies: &[&str], for_tests: &[&str]) -> Vec<String> {
    findings(&[(
        &format!("crates/{krate}/Cargo.toml"),
        &manifest(dependencies, for_tests),
    )])
}

#[test]
fn this_workspace_depends_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let found = tidy(root).unwrap().findings;
    let manifests: Vec<_> = found
        .iter()
        .filter(|finding| finding.path.ends_with("Cargo.toml"))
        .collect();
    assert!(manifests.is_empty(), "{manifests:#?}");
}

#[test]
fn a_dependency_on_a_lower_crate_is_right() {
    let clean = Vec::<String>::new();
    let store = dependency_findings(
        "store",
        &["starling-db", "starling-events", "rustc-hash"],
        &["starling-testkit", "ruma-signatures"],
    );
    assert_eq!(store, clean);
    assert_eq!(
        dependency_findings("http", &["starling-rooms", "starling-accounts"], &[]),
        clean
    );
    assert_eq!(
        dependency_findings(
            "client-api",
            &["starling-http", "starling-rooms", "axum", "ruma"],
            &[]
        ),
        clean
    );
    assert_eq!(
        dependency_findings("testkit", &["starling-client-api", "axum"], &[]),
        clean
    );
}

#[test]
fn a_dependency_on_an_upper_or_neighbouring_crate_is_found() {
    let forbidden = [
        (
            "events",
            "starling-stateres",
            "`events` (layer 0 pure) must not depend on `stateres`",
        ),
        (
            "rooms",
            "starling-sync",
            "`rooms` (layer 3 domain) must not depend on `sync`",
        ),
        (
            "accounts",
            "starling-http",
            "`accounts` (layer 3 domain) must not depend on `http`",
        ),
        (
            "client-api",
            "starling-admin-api",
            "`client-api` (layer 4 edge) must not depend on `admin-api`",
        ),
        (
            "starling",
            "starling-testkit",
            "`starling` (layer 5 program) must not depend on `testkit`",
        ),
        (
            "rooms",
            "starling-common",
            "`common` is not in the table of layers",
        ),
        (
            "rooms",
            "axum",
            "the library `axum` is for layer 4 edge and above only",
        ),
        (
            "rooms",
            "hyper",
            "the library `hyper` is for `outbound` and layer 4 edge and above only",
        ),
        (
            "outbound",
            "axum",
            "the library `axum` is for layer 4 edge and above only",
        ),
        (
            "events",
            "tokio",
            "the library `tokio` is for layer 1 storage and above only",
        ),
        (
            "store",
            "rusqlite",
            "the library `rusqlite` is for bench, db, testkit only",
        ),
        (
            "stateres",
            "ruma-state-res",
            "the library `ruma-state-res` is for bench only",
        ),
    ];
    for (krate, dependency, message) in forbidden {
        let expected = vec![format!("crates/{krate}/Cargo.toml: {message}")];
        assert_eq!(dependency_findings(krate, &[dependency], &[]), expected);
    }
}

#[test]
fn every_section_of_a_manifest_is_checked() {
    assert_eq!(
        dependency_findings("db", &[], &["starling-store"]),
        ["crates/db/Cargo.toml: `db` (layer 1 storage) must not depend on `store`"]
    );
    assert_eq!(
        dependency_findings("helpers", &[], &[]),
        ["crates/helpers/Cargo.toml: `helpers` is not in the table of layers"]
    );
    let target = "[target.'cfg(unix)'.dependencies]\nstarling-http = { path = \"../http\" }\n";
    assert_eq!(
        findings(&[("crates/sync/Cargo.toml", target)]),
        ["crates/sync/Cargo.toml: `sync` (layer 3 domain) must not depend on `http`"]
    );
}

/// The lines of one source file of a crate on which something is found.
fn found_lines(krate: &str, source: &str) -> Vec<String> {
    let path = format!("crates/{krate}/src/lib.rs");
    let all = findings(&[(&path, &format!("//! A file.\n{source}"))]);
    all.iter()
        .map(|line| line.trim_start_matches(&format!("{path}:")).to_owned())
        .collect()
}

#[test]
fn sql_is_found_outside_of_store() {
    let statements = [
        "SELECT 1",
        "select a from b where c = ?1",
        "INSERT INTO t VALUES (1)",
        "insert or ignore into t values (1)",
        "\\n  UPDATE t SET a = 1",
        "DELETE FROM t WHERE a = 1",
        "CREATE TABLE t (a INTEGER)",
        "create unique index i on t (a)",
        "DROP TABLE IF EXISTS t",
        "WITH x AS (SELECT 1) SELECT * FROM x",
    ];
    for statement in statements {
        let source = format!(
            "const A: &str =\n    \"{}\";",
            statement.replace("\\n", "\n")
        );
        assert_eq!(
            found_lines("rooms", &source),
            ["3: SQL outside `store`"],
            "{statement}"
        );
        assert_eq!(
            found_lines("store", &source),
            Vec::<String>::new(),
            "{statement}"
        );
    }
    assert_eq!(
        found_lines("rooms", "const A: &str = r#\"SELECT \"a\" FROM b\"#;"),
        ["2: SQL outside `store`"]
    );
    for harmless in [
        "// \"SELECT 1\"",
        "/* /* */ \"SELECT 1\" */",
        "const A: &str = \"Select a room from the list\";",
        "const A: &str = \"update the profile\";",
        "const A: &str = \"create room\";",
        "fn f<'a>(x: &'a str) -> char { '\"' }\nconst A: &str = \"with ease\";",
        "const A: [char; 2] = ['\\'', '\"'];",
        "fn r#type() {}",
    ] {
        assert_eq!(
            found_lines("rooms", harmless),
            Vec::<String>::new(),
            "{harmless}"
        );
    }
    assert_eq!(
        found_lines(
            "rooms",
            "const Q: char = '\"';\nconst A: &str = \"SELECT 1\";"
        ),
        ["3: SQL outside `store`"]
    );
}

#[test]
fn error_codes_are_found_below_the_edge() {
    let source = "const A: &str = \"M_FORBIDDEN\";";
    let expected = ["2: an error code of the Matrix API below the edge (layer 4)"];
    assert_eq!(found_lines("accounts", source), expected);
    assert_eq!(found_lines("events", source), expected);
    assert_eq!(
        found_lines(
            "sync",
            "const A: &str = r\"{\\\"errcode\\\":\\\"M_UNKNOWN\\\"}\";"
        ),
        expected
    );
    assert_eq!(found_lines("client-api", source), Vec::<String>::new());
    assert_eq!(
        found_lines(
            "events",
            "/// Answered as `M_FORBIDDEN`.\nconst A: &str = \"M_1\";"
        ),
        Vec::<String>::new()
    );
}

#[test]
fn a_file_says_what_it_is_and_is_not_too_long() {
    assert_eq!(
        findings(&[("crates/db/src/lib.rs", "use std::fmt;\n")]),
        ["crates/db/src/lib.rs:1: the first line says what the file is: `//! …`"]
    );
    let long = format!("//! Long.\n{}", "\n".repeat(1000));
    assert_eq!(
        findings(&[("crates/db/src/lib.rs", &long)]),
        ["crates/db/src/lib.rs: 1001 lines; split what has more than 1000"]
    );
    assert_eq!(
        findings(&[("crates/db/src/lib.rs", long.trim_end())]),
        Vec::<String>::new()
    );
}

#[test]
fn unwanted_words_are_found_in_every_text() {
    for (word, path) in [
        (concat!("TO", "DO"), "docs/a.md"),
        (concat!("FIX", "ME"), "scripts/a.sh"),
        (concat!("../sha", "red"), "Makefile"),
        (concat!("/wo", "rk/"), "tests/a.py"),
    ] {
        let found = findings(&[(path, &format!("first\nsee {word}x\n"))]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(&format!("{path}:2: `{word}`: ")),
            "{found:?}"
        );
    }
    assert_eq!(
        findings(&[("target/debug/a.txt", concat!("TO", "DO"))]),
        Vec::<String>::new()
    );
}

#[test]
fn dead_paths_are_found_in_texts() {
    let text = "\
`crates/db/src/lib.rs`, `db/src/{lib,gone}.rs`, `crates/gone`, `docs/dev/`, `scripts/*.sh`
`application/json`, `/_matrix/client/versions`, `./data/a.toml`, `target/release/starling`
[a](dev/a.md#part), [b](gone.md), [c](https://example.org/d.md), [d](#here)
```
`crates/not/read.rs`
```
`elsewhere/lib.rs`
";
    let files = [
        ("docs/a.md", text),
        ("docs/dev/a.md", ""),
        ("crates/db/src/lib.rs", "//! A.\n"),
        ("scripts/a.sh", ""),
    ];
    assert_eq!(
        findings(&files),
        [
            "docs/a.md:1: `crates/gone` does not exist",
            "docs/a.md:1: `db/src/gone.rs` does not exist",
            "docs/a.md:3: `gone.md` does not exist",
            "docs/a.md:7: `elsewhere/lib.rs` does not exist",
        ]
    );
}

#[test]
fn a_footprint_over_either_limit_is_too_much() {
    let most = Footprint {
        ready: READY_LIMIT,
        resident_bytes: RESIDENT_LIMIT_BYTES,
    };
    assert!(most.within_limits());
    assert!(
        !Footprint {
            ready: READY_LIMIT + Duration::from_millis(1),
            ..most
        }
        .within_limits()
    );
    assert!(
        !Footprint {
            resident_bytes: RESIDENT_LIMIT_BYTES + 1,
            ..most
        }
        .within_limits()
    );
}

#[test]
fn a_program_that_ends_at_once_has_no_footprint() {
    let error = footprint::median(Path::new("/bin/false")).unwrap_err();
    assert!(
        error.to_string().starts_with("/bin/false did not start"),
        "{error}"
    );
}

const TABLE: &str = "GET\t/a/{b}\tUser\tOther\topen\nPUT\t/a/{b}\tGuest\tMessage\tclosed\n";

#[test]
fn a_route_has_the_tests_whose_doc_comments_name_it() {
    let source = [
        "/// What no test is may name `GET /a/{b}`.",
        "fn helper() {}",
        "",
        "/// Two: `GET /a/{b}`, and",
        "/// `PUT /a/{b}` of any `body`.",
        "#[tokio::test(flavor = \"multi_thread\")]",
        "async fn both() {",
        "    /// `PUT /inner`",
        "}",
        "/// `GET /a/{b}`",
        "#[expect(",
        "    clippy::panic,",
        "    reason = \"a test\"",
        ")]",
        "#[test]",
        "fn one() {}",
        "/// `GET /gone`, and `GET /_starling/health`, which is no endpoint",
        "#[test]",
        "fn mistaken() {}",
        "#[test]",
        "fn none() {}",
    ];
    let tests = routes::tests_of("rooms::send", &source.join("\n"));
    let test = |name: &str, routes: &[&str]| Test {
        name: format!("rooms::send::{name}"),
        routes: routes.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(
        tests,
        [
            test("both", &["GET /a/{b}", "PUT /a/{b}"]),
            test("one", &["GET /a/{b}"]),
            test("mistaken", &["GET /gone"]),
            test("none", &[]),
        ]
    );
    let report = routes::bring_together(routes::parse_table(TABLE).unwrap(), &tests);
    let lines: Vec<String> = report.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "GET /a/{b}  auth=User limit=Other suspended=open tests=rooms::send::both,rooms::send::one",
            "PUT /a/{b}  auth=Guest limit=Message suspended=closed tests=rooms::send::both",
        ]
    );
    assert_eq!(
        report.unknown,
        ["rooms::send::mistaken: `GET /gone` is no route"]
    );
}

#[test]
fn a_route_that_no_test_names_is_untested() {
    let tests = routes::tests_of("it", "/// `PUT /a/{b}`\n#[test]\nfn a() {}");
    let report = routes::bring_together(routes::parse_table(TABLE).unwrap(), &tests);
    let untested: Vec<&str> = report.untested().map(|route| route.name.as_str()).collect();
    assert_eq!(untested, ["GET /a/{b}"]);
}

#[test]
fn what_is_no_table_is_no_routes() {
    for table in ["", "GET /a", "GET\t/a\tUser\tOther"] {
        assert_eq!(routes::parse_table(table), None, "{table}");
    }
}

#[test]
fn tests_are_found_in_the_modules_of_each_crate() {
    let folder = TempDir::new().expect("a temporary folder");
    for path in [
        "a/tests/it/main.rs",
        "a/tests/it/room/send.rs",
        "b/src/lib.rs",
        "b/tests/it/account.rs",
    ] {
        let path = folder.path().join("crates").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#[test]\nfn works() {}\n").unwrap();
    }
    let tests = routes::tests(folder.path()).unwrap();
    let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    assert_eq!(
        names,
        ["a::room::send::works", "a::works", "b::account::works"]
    );
}

/// What `send` is judged as when so much was counted, where 1000 were recorded with a tolerance of 5 %.
fn verdict(counted: u64) -> Verdict {
    let recorded = Recorded {
        tolerance_percent: 5,
        instructions: Counts::from([("send".to_owned(), 1000)]),
    };
    let counted = Counts::from([("send".to_owned(), counted)]);
    recorded.compare(&counted)[0].verdict
}

#[test]
fn counts_within_the_tolerance_are_the_same() {
    assert_eq!(verdict(1000), Verdict::Same);
    assert_eq!(verdict(1050), Verdict::Same);
    assert_eq!(verdict(950), Verdict::Same);
}

#[test]
fn counts_outside_the_tolerance_are_too_many_or_too_few() {
    assert_eq!(verdict(1051), Verdict::TooMany);
    assert_eq!(verdict(949), Verdict::TooFew);
    assert_eq!(verdict(0), Verdict::TooFew);
}

#[test]
fn a_comparison_says_what_differs() {
    let recorded = Recorded {
        tolerance_percent: 5,
        instructions: Counts::from([("send".to_owned(), 2000), ("sync".to_owned(), 400)]),
    };
    let counted = [("new", 7), ("send", 2201), ("sync", 300)];
    let counted = counted.map(|(work, count)| (work.to_owned(), count));
    let lines = recorded.compare(&Counts::from(counted));
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    assert!(
        lines[0].ends_with("7 instructions: not recorded"),
        "{lines:?}"
    );
    assert!(lines[1].ends_with("2000 (+10.0%): TOO MANY"), "{lines:?}");
    assert!(
        lines[2].ends_with("400 (-25.0%): fewer; record the better number"),
        "{lines:?}"
    );
}

#[test]
fn recorded_counts_are_read_as_they_are_written() {
    let recorded = Recorded {
        tolerance_percent: 7,
        instructions: Counts::from([("send".to_owned(), 1), ("sync".to_owned(), 2)]),
    };
    assert_eq!(Recorded::parse(&recorded.to_string()).unwrap(), recorded);
    for wrong in [
        "",
        "tolerance_percent = -1",
        "tolerance_percent = 5\n[instructions]\nsend = \"1\"",
    ] {
        assert!(Recorded::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_recorded_counts_of_this_workspace_are_readable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let text = fs::read_to_string(root.join(instructions::FILE)).unwrap();
    assert_eq!(Recorded::parse(&text).unwrap().to_string(), text);
}

#[test]
fn the_total_of_a_profile_is_found() {
    let profile = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) f\n1 12\n\ntotals: 12\n";
    assert_eq!(instructions::total(profile), Some(12));
    assert_eq!(instructions::total("events: Ir\n"), None);
}

#[test]
fn a_program_that_fails_has_no_counts() {
    let error = instructions::count(Path::new("/bin/false")).unwrap_err();
    assert!(error.to_string().contains("/bin/false"), "{error}");
}
