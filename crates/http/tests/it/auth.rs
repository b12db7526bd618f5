//! Who is let in, by the route's declaration.

use axum::Router;
use axum::body::Body;
use http::Request;
use serde_json::json;
use starling_config::Listener;
use starling_http::{Auth, Authenticated, Json, JsonBytes, Routes};

use crate::fixture::{App, app, call, call_as, edge, send};

async fn who(Authenticated(session): Authenticated<String>) -> Json<String> {
    Json(session)
}

async fn who_if_any(session: Option<Authenticated<String>>) -> Json<Option<String>> {
    Json(session.map(|Authenticated(session)| session))
}

fn routes() -> Routes<App> {
    Routes::new()
        .get("/none", Auth::None, async || JsonBytes::empty())
        .get("/optional", Auth::Optional, who_if_any)
        .get("/user", Auth::User, who)
        .get("/guest", Auth::Guest, who)
        .get("/calm", Auth::Guest, who)
        .refuse_suspended()
        .get("/locked", Auth::LockedUser, who)
        .get("/admin", Auth::Admin, who)
        .get("/forgotten", Auth::User, async || JsonBytes::empty())
        .get("/undeclared", Auth::None, who)
}

async fn status(app: &Router, token: Option<&str>, path: &str) -> String {
    let answer = match token {
        Some(token) => call_as(app, token, "GET", path).await,
        None => call(app, "GET", path, Body::empty()).await,
    };
    if answer.status.is_success() {
        return answer.body;
    }
    let (status, errcode) = answer.error();
    format!("{status} {errcode}")
}

#[tokio::test]
async fn each_kind_of_route_lets_in_its_callers() {
    let app = app(routes());
    for (token, none, optional, user, locked, admin) in [
        (
            None,
            "{}",
            "null",
            "401 M_MISSING_TOKEN",
            "401 M_MISSING_TOKEN",
            "401 M_MISSING_TOKEN",
        ),
        (
            Some("alice"),
            "{}",
            "\"alice\"",
            "\"alice\"",
            "\"alice\"",
            "403 M_FORBIDDEN",
        ),
        (
            Some("admin"),
            "{}",
            "\"admin\"",
            "\"admin\"",
            "\"admin\"",
            "\"admin\"",
        ),
        (
            Some("locked"),
            "{}",
            "401 M_USER_LOCKED",
            "401 M_USER_LOCKED",
            "\"locked\"",
            "401 M_USER_LOCKED",
        ),
        (
            Some("old"),
            "{}",
            "401 M_UNKNOWN_TOKEN",
            "401 M_UNKNOWN_TOKEN",
            "401 M_UNKNOWN_TOKEN",
            "401 M_UNKNOWN_TOKEN",
        ),
        (
            Some("x"),
            "{}",
            "401 M_UNKNOWN_TOKEN",
            "401 M_UNKNOWN_TOKEN",
            "401 M_UNKNOWN_TOKEN",
            "401 M_UNKNOWN_TOKEN",
        ),
        (
            Some("broken"),
            "{}",
            "500 M_UNKNOWN",
            "500 M_UNKNOWN",
            "500 M_UNKNOWN",
            "500 M_UNKNOWN",
        ),
    ] {
        let paths = [
            ("/none", none),
            ("/optional", optional),
            ("/user", user),
            ("/locked", locked),
            ("/admin", admin),
        ];
        for (path, expected) in paths {
            assert_eq!(
                status(&app, token, path).await,
                expected,
                "{token:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn guests_and_suspended_users_are_kept_out_where_it_says_so() {
    let app = app(routes());
    for (token, user, guest, calm, locked, admin) in [
        (
            "guest",
            "403 M_GUEST_ACCESS_FORBIDDEN",
            "\"guest\"",
            "\"guest\"",
            "\"guest\"",
            "403 M_FORBIDDEN",
        ),
        (
            "suspended",
            "\"suspended\"",
            "\"suspended\"",
            "403 M_USER_SUSPENDED",
            "\"suspended\"",
            "403 M_FORBIDDEN",
        ),
        (
            "locked",
            "401 M_USER_LOCKED",
            "401 M_USER_LOCKED",
            "401 M_USER_LOCKED",
            "\"locked\"",
            "401 M_USER_LOCKED",
        ),
        (
            "alice",
            "\"alice\"",
            "\"alice\"",
            "\"alice\"",
            "\"alice\"",
            "403 M_FORBIDDEN",
        ),
    ] {
        let paths = [
            ("/user", user),
            ("/guest", guest),
            ("/calm", calm),
            ("/locked", locked),
            ("/admin", admin),
        ];
        for (path, expected) in paths {
            assert_eq!(
                status(&app, Some(token), path).await,
                expected,
                "{token} {path}"
            );
        }
    }
    let refused = call_as(&app, "suspended", "GET", "/calm").await.json();
    assert_eq!(
        refused["error"],
        "You cannot perform this action while suspended."
    );
}

#[tokio::test]
async fn a_declaration_protects_a_handler_that_asks_for_nobody() {
    let app = app(routes());
    assert_eq!(
        status(&app, None, "/forgotten").await,
        "401 M_MISSING_TOKEN"
    );
    assert_eq!(
        status(&app, Some("alice"), "/undeclared").await,
        "500 M_UNKNOWN"
    );
}

#[tokio::test]
async fn a_soft_logout_is_said() {
    let app = app(routes());
    assert_eq!(
        call_as(&app, "old", "GET", "/user").await.json()["soft_logout"],
        true
    );
    assert_eq!(
        call_as(&app, "x", "GET", "/user")
            .await
            .json()
            .get("soft_logout"),
        None
    );
    assert_eq!(
        call_as(&app, "locked", "GET", "/user").await.json()["soft_logout"],
        true
    );
}

#[tokio::test]
async fn tokens_in_the_query() {
    let lenient = app(routes());
    let get = async |app: &Router, path: &str, header: &str| {
        let request = Request::get(path)
            .header("authorization", header)
            .body(Body::empty())
            .unwrap();
        send(app, request).await.json()
    };
    assert_eq!(
        get(&lenient, "/user?since=1&access_token=ali%63e", "").await,
        json!("alice")
    );
    assert_eq!(
        get(&lenient, "/user?access_token=x", "bearer alice").await,
        json!("alice")
    );
    assert_eq!(
        get(&lenient, "/user?access_token=alice", "Basic eDp5").await,
        json!("alice")
    );
    assert_eq!(
        get(&lenient, "/user?access_token=", "").await["errcode"],
        "M_MISSING_TOKEN"
    );
    assert_eq!(
        get(&lenient, "/user", "Bearer ").await["errcode"],
        "M_MISSING_TOKEN"
    );
    let state = App {
        no_token_in_query: true,
        ..App::default()
    };
    let strict = edge(None).app(&Listener::default(), routes().into_router(state));
    assert_eq!(
        get(&strict, "/user?access_token=alice", "").await["errcode"],
        "M_MISSING_TOKEN"
    );
    assert_eq!(get(&strict, "/user", "Bearer alice").await, json!("alice"));
}
