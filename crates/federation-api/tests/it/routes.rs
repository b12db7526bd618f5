//! The table of routes: who may call what.

use starling_http::Auth;

/// What anybody may call. A further line here is a decision.
const OPEN: &[&str] = &[
    "GET /_matrix/federation/v1/version",
    "GET /_matrix/key/v2/query/{serverName}",
    "GET /_matrix/key/v2/server",
    "POST /_matrix/key/v2/query",
    "PUT /_matrix/federation/v1/3pid/onbind",
];

#[test]
fn only_what_needs_no_proof_is_open() {
    let routes = starling_federation_api::routes();
    let open = routes.table().filter(|route| route.auth == Auth::None);
    let mut open: Vec<String> = open
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    open.sort_unstable();
    assert_eq!(open, OPEN);
    let mut others = routes.table().filter(|route| route.auth != Auth::None);
    assert!(others.all(|route| route.auth == Auth::Server));
}
