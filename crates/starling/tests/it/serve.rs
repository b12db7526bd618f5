//! `serve`: one server for one folder, its listeners, its end.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use starling_db::{Db, Options, Tx, Write};
use starling_store::SCHEMA;
use starling_store::server::server_name_record;

use crate::program::{Folder, HttpAnswer, Running};

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let folder = Folder::with("");
    let first = folder.serve();
    let second = folder.run(&["serve", "--config", "starling.toml"]);
    for part in [
        format!("process {}", first.id()),
        first.addresses[0].to_string(),
    ] {
        assert!(
            second.err.lines().last().unwrap().contains(&part),
            "{second:?}"
        );
    }
    assert_eq!(second.status, Some(1));
    // The first one goes on.
    assert_eq!(
        first.http(0, "GET", "/_starling/health", "", "").status,
        200
    );
    assert_eq!(first.stop(), Some(0));
    assert_eq!(folder.serve().stop(), Some(0));
}

#[test]
fn each_listener_answers_what_it_serves() {
    let folder = Folder::with("shared_secret = \"known to tools\"");
    let server = folder.serve();
    let status = |listener, path| server.http(listener, "GET", path, "", "").status;
    for (path, on_first, on_second) in [
        ("/_matrix/client/versions", 200, 404),
        ("/", 200, 404),
        ("/_synapse/admin/v1/register", 404, 200),
        ("/_starling/metrics", 404, 200),
        ("/_starling/health", 200, 200),
    ] {
        assert_eq!(
            (status(0, path), status(1, path)),
            (on_first, on_second),
            "{path}"
        );
    }
}

/// `GET /.well-known/matrix/server`
#[test]
fn where_other_servers_find_it_is_told_by_listeners_for_clients_and_for_servers() {
    let folder = Folder::with("[well_known]\nserver = \"matrix.example.org:443\"");
    let path = folder.path().join("starling.toml");
    let ask = |serves: &str| {
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("serves = [\"admin\"", serves)).unwrap();
        let server = folder.serve();
        let answers = [0, 1].map(|it| server.http(it, "GET", "/.well-known/matrix/server", "", ""));
        assert_eq!(server.stop(), Some(0));
        answers
    };
    let [client, other] = ask("serves = [\"admin\"");
    assert_eq!((client.status, other.status), (200, 404));
    let [client, federation] = ask("serves = [\"federation\", \"admin\"");
    for answer in [client, federation] {
        assert_eq!(answer.body, r#"{"m.server":"matrix.example.org:443"}"#);
    }
}

#[test]
fn the_log_begins_with_what_runs_where() {
    let folder = Folder::with("");
    let server = folder.serve();
    let first: Value = serde_json::from_str(&server.started[0]).unwrap();
    let database = format!("sqlite:{}", folder.data().join("starling.db").display());
    let version = first["version"].as_str().unwrap();
    assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{first}");
    assert!(version.contains("commit"), "{first}");
    assert_eq!(
        (&first["server_name"], &first["database"]),
        (&json!("localhost"), &json!(database))
    );
}

#[test]
fn all_that_is_measured_is_described() {
    let folder = Folder::with("");
    let server = folder.serve();
    let body =
        json!({ "username": "ann", "password": "secret", "auth": { "type": "m.login.dummy" } });
    server.http(
        0,
        "POST",
        "/_matrix/client/v3/register",
        "",
        &body.to_string(),
    );
    let wanted = [
        "starling_http_requests_total",
        "starling_db_writes_total",
        "starling_build_info",
        "starling_federation_servers_pending",
        "starling_federation_servers_failing",
        "starling_federation_inbox_events",
    ];
    let mut pages = (0..10_000).map(|_| server.http(1, "GET", "/_starling/metrics", "", "").body);
    let page = pages.find(|page| wanted.iter().all(|name| page.contains(name)));
    let page = page.expect("all that is measured from the start on");
    let names = |prefix: &str| {
        let lines = page.lines().filter_map(|line| line.strip_prefix(prefix));
        let names = lines.filter_map(|line| line.split(' ').next().map(str::to_owned));
        names.collect::<std::collections::BTreeSet<String>>()
    };
    let families = names("# TYPE ");
    assert_eq!(names("# HELP "), families);
    let monitoring = include_str!("../../../../docs/monitoring.md");
    for name in &families {
        assert!(monitoring.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_data_are_the_owners_and_the_key_stays() {
    let folder = Folder::with("");
    assert_eq!(folder.serve().stop(), Some(0));
    let key = folder.data().join("signing.key");
    let first = std::fs::read_to_string(&key).unwrap();
    assert!(first.starts_with("ed25519 "));
    assert_eq!(folder.serve().stop(), Some(0));
    assert_eq!(std::fs::read_to_string(&key).unwrap(), first);
    for file in ["signing.key", "starling.db", "starling.lock"] {
        let mode = std::fs::metadata(folder.data().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}

#[test]
fn a_database_stays_with_its_server() {
    let folder = Folder::with("");
    assert_eq!(folder.serve().stop(), Some(0));
    folder.configure("example.org", "./data", "");
    let ended = folder.run(&["serve", "--config", "starling.toml"]);
    assert_eq!(ended.status, Some(1));
    assert!(
        ended.err.contains("belongs to the server localhost"),
        "{ended:?}"
    );
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let (one, two) = (Folder::with(""), Folder::with(""));
    let server = one.serve();
    let text = std::fs::read_to_string(two.path().join("starling.toml")).unwrap();
    let text = text.replacen("127.0.0.1:0", &server.addresses[0].to_string(), 1);
    std::fs::write(two.path().join("starling.toml"), text).unwrap();
    let ended = two.run(&["serve", "--config", "starling.toml"]);
    assert_eq!(ended.status, Some(1));
    let expected = format!("cannot listen on {}", server.addresses[0]);
    assert!(
        ended.err.lines().last().unwrap().contains(&expected),
        "{ended:?}"
    );
}

/// Waits until this many requests are in flight, that for this answer included.
fn until_in_flight(server: &Running, wanted: &str) {
    let wanted = format!("starling_http_requests_in_flight {wanted}");
    for _ in 0..10_000 {
        let page = server.http(1, "GET", "/_starling/metrics", "", "").body;
        if page.lines().any(|line| line == wanted) {
            return;
        }
    }
    panic!("never {wanted}");
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let folder = Folder::with("");
    let mut server = folder.serve();
    let body =
        json!({ "username": "ann", "password": "secret", "auth": { "type": "m.login.dummy" } })
            .to_string();
    let (begin, end) = body.split_at(20);
    let mut stream = server.connect(0);
    let length = body.len();
    let head = format!(
        "POST /_matrix/client/v3/register HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{begin}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    until_in_flight(&server, "2");
    server.signal("TERM");
    server.line_with("stopping");
    stream.write_all(end.as_bytes()).unwrap();
    let answer = HttpAnswer::read(stream);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(server.wait(), Some(0));
    let token: Value = serde_json::from_str(&answer.body).unwrap();
    let again = folder.serve();
    assert!(again.knows(token["access_token"].as_str().unwrap()));
}

#[test]
fn a_long_poll_is_answered_at_the_end() {
    let folder = Folder::with("");
    let mut server = folder.serve();
    folder.user(&["create", "ann"], "secret\n").ok();
    let token = server.login("ann", "secret").unwrap();
    let (_, first) = server.call("GET", "/_matrix/client/v3/sync", &token, &Value::Null);
    let since = first["next_batch"].as_str().unwrap();
    let mut stream = server.connect(0);
    write!(
        stream,
        "GET /_matrix/client/v3/sync?timeout=30000&since={since} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    until_in_flight(&server, "2");
    // SIGHUP reads certificates again, and ends nothing.
    server.signal("HUP");
    server.line_with("certificates were read again");
    server.signal("INT");
    let answer = HttpAnswer::read(stream);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("next_batch"), "{answer:?}");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_server_keeps_a_name_that_no_new_one_may_have() {
    let (folder, reason) = (Folder::new(), "has capital letters");
    folder.configure("Example.org", "./data", "");
    let checked = folder.run(&["config", "check", "starling.toml"]);
    assert!(checked.ok().contains(reason), "{checked:?}");
    let refused = folder.run(&["serve", "--config", "starling.toml"]);
    let last = refused.err.lines().last().unwrap();
    assert_eq!(refused.status, Some(1));
    assert!(last.contains(reason), "{refused:?}");
    // As a program did that took any name.
    let path = folder.data().join("starling.db");
    let db = Db::open_sqlite(&path, &SCHEMA, &Options::default()).unwrap();
    let record = |tx: &mut Tx<'_>| server_name_record(tx, "Example.org");
    let is_new = db.write(Write::new("test"), record).await;
    assert!(is_new.unwrap(), "the refusal left no name behind");
    db.close().await;
    let server = folder.serve();
    let is_warned = |line: &String| line.contains("WARN") && line.contains(reason);
    assert!(server.started.iter().any(is_warned), "{:?}", server.started);
    assert_eq!(server.stop(), Some(0));
    let created = folder.user(&["create", "ann"], "secret\n");
    assert_eq!(created.ok(), "@ann:Example.org created");
}
