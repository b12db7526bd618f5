//! The table of routes: who may call what.

use http::Method;
use starling_db::Dialect;
use starling_http::{Auth, Limited, RouteInfo};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, TestServer};

/// What anybody may call. A further line here is a decision.
const OPEN: &[&str] = &[
    "GET /.well-known/matrix/client",
    "GET /.well-known/matrix/server",
    "GET /_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
    "GET /_matrix/client/v1/register/m.login.registration_token/validity",
    "GET /_matrix/client/v1/room_summary/{roomIdOrAlias}",
    "GET /_matrix/client/v3/auth/{authType}/fallback/web",
    "GET /_matrix/client/v3/directory/list/room/{roomId}",
    "GET /_matrix/client/v3/directory/room/{roomAlias}",
    "GET /_matrix/client/v3/login",
    "GET /_matrix/client/v3/profile/{userId}",
    "GET /_matrix/client/v3/profile/{userId}/{keyName}",
    // Only where the configuration says so.
    "GET /_matrix/client/v3/publicRooms",
    "GET /_matrix/client/v3/register/available",
    "GET /_matrix/client/versions",
    "POST /_matrix/client/v3/auth/{authType}/fallback/web",
    "POST /_matrix/client/v3/login",
    "POST /_matrix/client/v3/refresh",
    "POST /_matrix/client/v3/register",
];

/// What suspended users may not do. Of what a route here lets through, its handler decides: sending and redacting.
/// <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>
const CLOSED_TO_SUSPENDED: &[&str] = &[
    "DELETE /_matrix/client/v3/directory/room/{roomAlias}",
    "DELETE /_matrix/client/v3/profile/{userId}/{keyName}",
    "POST /_matrix/client/v3/createRoom",
    "POST /_matrix/client/v3/join/{roomIdOrAlias}",
    "POST /_matrix/client/v3/knock/{roomIdOrAlias}",
    "POST /_matrix/client/v3/rooms/{roomId}/ban",
    "POST /_matrix/client/v3/rooms/{roomId}/invite",
    "POST /_matrix/client/v3/rooms/{roomId}/join",
    "POST /_matrix/client/v3/rooms/{roomId}/kick",
    "POST /_matrix/client/v3/rooms/{roomId}/unban",
    "POST /_matrix/client/v3/rooms/{roomId}/upgrade",
    "PUT /_matrix/client/v3/directory/list/room/{roomId}",
    "PUT /_matrix/client/v3/directory/room/{roomAlias}",
    "PUT /_matrix/client/v3/presence/{userId}/status",
    "PUT /_matrix/client/v3/profile/{userId}/{keyName}",
    "PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}",
    "PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/",
    "PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
    "PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}",
];

/// What guests may do besides: <https://spec.matrix.org/v1.19/client-server-api/#guest-access>
const OPEN_TO_GUESTS: &[&str] = &[
    "DELETE /_matrix/client/v3/profile/{userId}/{keyName}",
    "GET /_matrix/client/v3/account/whoami",
    "GET /_matrix/client/v3/devices",
    "GET /_matrix/client/v3/devices/{deviceId}",
    "GET /_matrix/client/v3/events",
    "GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}",
    "GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}",
    "GET /_matrix/client/v3/rooms/{roomId}/initialSync",
    "GET /_matrix/client/v3/rooms/{roomId}/members",
    "GET /_matrix/client/v3/rooms/{roomId}/messages",
    "GET /_matrix/client/v3/rooms/{roomId}/state",
    "GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}",
    "GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/",
    "GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
    "GET /_matrix/client/v3/sync",
    "POST /_matrix/client/v3/join/{roomIdOrAlias}",
    "POST /_matrix/client/v3/keys/claim",
    "POST /_matrix/client/v3/keys/query",
    "POST /_matrix/client/v3/keys/upload",
    "POST /_matrix/client/v3/publicRooms",
    "POST /_matrix/client/v3/rooms/{roomId}/join",
    "POST /_matrix/client/v3/rooms/{roomId}/leave",
    "PUT /_matrix/client/v3/devices/{deviceId}",
    "PUT /_matrix/client/v3/profile/{userId}/{keyName}",
    "PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
    "PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}",
    "PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/",
    "PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
    "PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}",
];

/// The routes of the table that this holds for, sorted.
fn names(which: impl Fn(&RouteInfo) -> bool) -> Vec<String> {
    let routes = starling_client_api::routes();
    let found = routes.table().filter(|route| which(route));
    let mut names: Vec<String> = found
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    names.sort();
    names
}

/// A path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "x" } else { part }.to_owned();
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn what_is_open_to_anybody_is_listed() {
    let open = names(|route| matches!(route.auth, Auth::None | Auth::Optional));
    assert_eq!(open, OPEN);
}

#[test]
fn what_is_open_to_guests_is_listed() {
    assert_eq!(names(|route| route.auth == Auth::Guest), OPEN_TO_GUESTS);
}

#[test]
fn what_is_closed_to_suspended_users_is_listed() {
    assert_eq!(names(|route| route.refuses_suspended), CLOSED_TO_SUSPENDED);
}

#[test]
fn what_puts_events_into_rooms_or_changes_accounts_is_limited() {
    let changes = |route: &RouteInfo| route.method != Method::GET;
    let others = names(|route| changes(route) && route.limit == Limited::Other);
    // What only this user's own clients ever read, what others are told of but is no event, and what is
    // a question.
    let private = [
        "account_data",
        "tags",
        "filter",
        "pushrules",
        "forget",
        "logout",
        "room_keys",
        "keys/upload",
    ];
    let ephemeral = [
        "receipt",
        "read_markers",
        "typing",
        "presence",
        "sendToDevice",
    ];
    let questions = [
        "publicRooms",
        "user_directory",
        "keys/query",
        "keys/claim",
        "dehydrated_device/{deviceId}/events",
    ];
    let is_other = |name: &&String| {
        let mut words = private.iter().chain(&ephemeral).chain(&questions);
        words.any(|word| name.contains(word))
    };
    let forgotten: Vec<&String> = others.iter().filter(|name| !is_other(name)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
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
