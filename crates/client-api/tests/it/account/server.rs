//! What the server says of itself.

use http::Method;
use serde_json::json;
use starling_db::Dialect;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, TestServer};

use super::{User, on_servers};

/// Each has its behaviour: lazily loaded members, private receipts, deleted account data, threads, relations in either
/// direction, types of rooms in the directory, the list of threads, rooms in common (twice), and further profile fields.
const FEATURES: [&str; 10] = [
    "m.lazy_load_members",
    "org.matrix.msc2285.stable",
    "org.matrix.msc3391",
    "org.matrix.msc3440.stable",
    "org.matrix.msc3715.stable",
    "org.matrix.msc3827.stable",
    "org.matrix.msc3856.stable",
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    "uk.tcpip.msc4133.stable",
];

/// `GET /_matrix/client/versions`
#[tokio::test]
async fn versions_are_told_to_anybody_whatever_the_token() {
    on_servers(async |server| {
        for token in [None, Some("ended long ago")] {
            let answer = server
                .request(Method::GET, "/_matrix/client/versions", token, None)
                .await;
            assert_eq!(answer.status, 200);
            let versions = answer.body["versions"].as_array().unwrap();
            assert!(versions.contains(&json!("v1.1")) && versions.contains(&json!("v1.19")));
            let features = answer.body["unstable_features"].as_object().unwrap();
            assert!(features.values().all(|has| *has == true));
            let features: Vec<&str> = features.keys().map(String::as_str).collect();
            assert_eq!(features, FEATURES);
        }
    })
    .await;
}

/// `GET /.well-known/matrix/client`, `GET /.well-known/matrix/server`
#[tokio::test]
async fn well_known_is_served_when_it_is_configured() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let silent = TestServer::start(&db).await;
    for path in ["/.well-known/matrix/client", "/.well-known/matrix/server"] {
        let answer = silent.request(Method::GET, path, None, None).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND"), "{path}");
    }

    let mut config = TestServer::config();
    config.well_known.client_base_url = "https://matrix.example.org".to_owned();
    config.well_known.server = "matrix.example.org:443".to_owned();
    let server = TestServer::start_with(&db, config).await;
    let client = json!({ "m.homeserver": { "base_url": "https://matrix.example.org" } });
    let answer = server
        .request(Method::GET, "/.well-known/matrix/client", None, None)
        .await;
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &client));
    let answer = server
        .request(Method::GET, "/.well-known/matrix/server", None, None)
        .await;
    assert_eq!(answer.body, json!({ "m.server": "matrix.example.org:443" }));
    // A login says it too.
    server.register("alice").await;
    let body = json!({ "type": "m.login.password", "user": "alice", "password": "alice" });
    let answer = server
        .request(Method::POST, "/_matrix/client/v3/login", None, Some(body))
        .await;
    assert_eq!(answer.body["well_known"], client);
}

/// `GET /_matrix/client/v3/capabilities`
#[tokio::test]
async fn capabilities_are_what_works() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let mut config = TestServer::config();
    config.rooms.default_version = "11".to_owned();
    let server = TestServer::start_with(&db, config).await;
    let alice = User::register(&server, "alice").await;
    let capabilities = alice.get("capabilities").await.body["capabilities"].take();
    let versions = json!({
        "default": "11",
        "available": {
            "1": "stable", "2": "stable", "3": "stable", "4": "stable", "5": "stable", "6": "stable",
            "7": "stable", "8": "stable", "9": "stable", "10": "stable", "11": "stable", "12": "stable",
        },
    });
    assert_eq!(capabilities["m.room_versions"], versions);
    for (name, enabled) in [
        ("m.profile_fields", true),
        ("m.set_displayname", true),
        ("m.set_avatar_url", true),
        ("m.change_password", true),
        ("m.3pid_changes", false),
        ("m.get_login_token", true),
        ("m.forget_forced_upon_leave", false),
    ] {
        assert_eq!(capabilities[name], json!({ "enabled": enabled }), "{name}");
    }
}

#[tokio::test]
async fn old_spellings_and_unknown_paths_are_answered() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let call =
            async |method, path| server.request(method, path, Some(&alice.token), None).await;
        let old = call(Method::GET, "/_matrix/client/r0/account/whoami").await;
        assert_eq!(old.body["user_id"], "@alice:localhost");
        let unknown = call(Method::GET, "/_matrix/client/v3/no/such").await;
        assert_eq!(unknown.error(), (404, "M_UNRECOGNIZED"));
        let method = call(Method::DELETE, "/_matrix/client/v3/login").await;
        assert_eq!(method.error(), (405, "M_UNRECOGNIZED"));
    })
    .await;
}
