//! `starling routes`: the routes of all APIs, for `cargo xtask routes`.

use starling_http::{Admits, RouteInfo, Routes};

/// One route a line, its fields parted by tabs: method, path, who may call, what a call counts as, and whether it is
/// `closed` or `open` to suspended users.
pub(crate) fn table() -> String {
    [
        lines(&starling_client_api::routes()),
        lines(&starling_client_api::federation_routes()),
        lines(&starling_federation_api::routes()),
        lines(&starling_admin_api::routes()),
    ]
    .concat()
}

fn lines<S: Admits>(routes: &Routes<S>) -> String {
    routes.table().map(line).collect()
}

fn line(route: &RouteInfo) -> String {
    let RouteInfo {
        method,
        path,
        auth,
        limit,
        ..
    } = route;
    let suspended = if route.refuses_suspended {
        "closed"
    } else {
        "open"
    };
    format!("{method}\t{path}\t{auth:?}\t{limit:?}\t{suspended}\n")
}
