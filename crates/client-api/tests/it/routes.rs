//! The table of routes: who may call what.

use http::Method;
use starling_db::Dialect;
use starling_http::Auth;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, TestServer};

/// What anybody may call. A further line here is a decision.
const OPEN: &[&str] = &[
    "GET /.well-known/matrix/client",
    "GET /.well-known/matrix/server",
    "GET /_matrix/client/v3/directory/room/{roomAlias}",
    "GET /_matrix/client/v3/login",
    "GET /_matrix/client/v3/profile/{userId}",
    "GET /_matrix/client/v3/profile/{userId}/{keyName}",
    "GET /_matrix/client/v3/register/available",
    "GET /_matrix/client/versions",
    "POST /_matrix/client/v3/login",
    "POST /_matrix/client/v3/register",
];

/// A path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "x" } else { part }.to_owned();
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn what_is_open_to_anybody_is_listed() {
    let routes = starling_client_api::routes();
    let open = routes
        .table()
        .filter(|route| matches!(route.auth, Auth::None | Auth::Optional));
    let mut open: Vec<String> = open
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    open.sort();
    assert_eq!(open, OPEN);
}

#[tokio::test]
async fn everything_else_wants_a_token() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let server = TestServer::start(&db).await;
    let routes = starling_client_api::routes();
    let closed: Vec<(Method, String)> = routes
        .table()
        .filter(|route| !matches!(route.auth, Auth::None | Auth::Optional))
        .flat_map(|route| {
            let paths = route.also.iter().chain([&route.path]);
            paths.map(|path| (route.method.clone(), filled(path)))
        })
        .collect();
    assert!(closed.len() > 30, "only {} routes", closed.len());
    for (method, path) in closed {
        let without = server.request(method.clone(), &path, None, None).await;
        assert_eq!(without.error(), (401, "M_MISSING_TOKEN"), "{method} {path}");
        let wrong = server
            .request(method.clone(), &path, Some("nonsense"), None)
            .await;
        assert_eq!(wrong.error(), (401, "M_UNKNOWN_TOKEN"), "{method} {path}");
    }
}
