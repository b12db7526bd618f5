//! Routing, errors, CORS, health and panics.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use serde_json::json;
use starling_config::Listener;
use starling_http::{Auth, Edge, Json, JsonBytes, Limited, MatrixError, RouteInfo, Routes};

use crate::fixture::{App, app, call, edge};

async fn ok() -> JsonBytes {
    JsonBytes::empty()
}

#[tokio::test]
async fn what_is_unknown_is_unrecognized() {
    let app = app(Routes::new().get("/_matrix/client/v3/sync", Auth::None, ok));
    for path in [
        "/",
        "/_matrix/client/v3/syn",
        "/_matrix/client/v3/sync/",
        "/_matrix/client/v1/sync",
        "/_starling/metrics",
    ] {
        let answer = call(&app, "GET", path, Body::empty()).await;
        assert_eq!(answer.error(), (404, "M_UNRECOGNIZED".to_owned()), "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
    for method in ["POST", "DELETE", "PATCH"] {
        let answer = call(&app, method, "/_matrix/client/v3/sync", Body::empty()).await;
        assert_eq!(
            answer.error(),
            (405, "M_UNRECOGNIZED".to_owned()),
            "{method}"
        );
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn one_declaration_serves_every_spelling() {
    let routes: Routes<App> = Routes::new()
        .get("/_matrix/client/v3/sync", Auth::None, ok)
        .post("/_matrix/client/v3/sync", Auth::None, async || {
            JsonBytes("{\"p\":1}".into())
        })
        .get("/_matrix/client/v1/media/config", Auth::None, ok)
        .also("/_matrix/client/unstable/org.matrix.msc3916/media/config")
        .put(
            "/_matrix/client/v3/rooms/{room}/state/{type}/",
            Auth::None,
            ok,
        );
    let table: Vec<RouteInfo> = routes.table().cloned().collect();
    assert_eq!(
        table[0],
        RouteInfo {
            method: Method::GET,
            path: "/_matrix/client/v3/sync".to_owned(),
            also: vec!["/_matrix/client/r0/sync".to_owned()],
            auth: Auth::None,
            limit: Limited::Other,
            refuses_suspended: false,
            body_bytes: 64 << 10,
        }
    );
    assert_eq!(
        table[2].also,
        ["/_matrix/client/unstable/org.matrix.msc3916/media/config"]
    );
    let app = app(routes);
    for route in table {
        for path in route.also.iter().chain([&route.path]) {
            assert_eq!(
                call(&app, route.method.as_str(), path, Body::empty())
                    .await
                    .status,
                StatusCode::OK,
                "{path}"
            );
        }
    }
    assert_eq!(
        call(&app, "POST", "/_matrix/client/r0/sync", Body::empty())
            .await
            .body,
        "{\"p\":1}"
    );
    let without_slash = call(
        &app,
        "PUT",
        "/_matrix/client/v3/rooms/a/state/b",
        Body::empty(),
    )
    .await;
    assert_eq!(without_slash.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let app = app(Routes::new().get("/x", Auth::None, ok));
    let answer = call(&app, "HEAD", "/x", Body::empty()).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(answer.headers["content-length"], "2");
}

#[tokio::test]
async fn options_are_answered_without_calling_anybody() {
    let app = app(Routes::new().get("/x", Auth::User, async || -> JsonBytes { panic!("called") }));
    for path in ["/x", "/nothing", "/_starling/health"] {
        let answer = call(&app, "OPTIONS", path, Body::empty()).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::NO_CONTENT, ""),
            "{path}"
        );
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(
            answer.headers["access-control-allow-methods"],
            "GET, HEAD, POST, PUT, DELETE, OPTIONS"
        );
        let headers = &answer.headers["access-control-allow-headers"];
        assert_eq!(headers, "X-Requested-With, Content-Type, Authorization");
    }
}

#[tokio::test]
async fn errors_are_standard_error_responses() {
    let routes = Routes::new()
        .get("/locked", Auth::None, async || MatrixError::user_locked())
        .get("/limited", Auth::None, async || {
            MatrixError::limit_exceeded(Duration::from_millis(1001))
        })
        .get("/version", Auth::None, async || {
            MatrixError::incompatible_room_version("9")
        })
        .get("/broken", Auth::None, async || {
            MatrixError::internal(std::io::Error::other("sector 7"))
        });
    let app = app(routes);
    let answer = call(&app, "GET", "/locked", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let expected = json!({"errcode": "M_USER_LOCKED", "error": "This account has been locked", "soft_logout": true});
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let answer = call(&app, "GET", "/limited", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (
            answer.headers["retry-after"].to_str().unwrap(),
            &answer.json()["retry_after_ms"]
        ),
        ("2", &json!(1001))
    );
    let answer = call(&app, "GET", "/version", Body::empty()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["room_version"]),
        (400, &json!("9"))
    );
    let answer = call(&app, "GET", "/broken", Body::empty()).await;
    assert_eq!(answer.error(), (500, "M_UNKNOWN".to_owned()));
    assert!(!answer.body.contains("sector"), "{}", answer.body);
}

#[tokio::test]
async fn a_panic_is_a_500() {
    let app = app(Routes::new().get("/x", Auth::None, async || -> JsonBytes {
        panic!("sector 7")
    }));
    let answer = call(&app, "GET", "/x", Body::empty()).await;
    assert_eq!(answer.error(), (500, "M_UNKNOWN".to_owned()));
    assert!(!answer.body.contains("sector"), "{}", answer.body);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_is_a_500() {
    let app = app(Routes::new().get("/x", Auth::None, async || {
        Json(std::collections::HashMap::from([((1, 2), 3)]))
    }));
    assert_eq!(
        call(&app, "GET", "/x", Body::empty()).await.error(),
        (500, "M_UNKNOWN".to_owned())
    );
}

#[tokio::test]
async fn health_says_why_not() {
    let healthy = app(Routes::new());
    let answer = call(&healthy, "GET", "/_starling/health", Body::empty()).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "OK\n")
    );
    let ill = Edge {
        health: Arc::new(|| async { Err("the disk is full".to_owned()) }.boxed()),
        ..edge(None)
    };
    let ill = ill.app(&Listener::default(), axum::Router::new());
    let answer = call(&ill, "GET", "/_starling/health", Body::empty()).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "the disk is full\n")
    );
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() {
    let app = app(Routes::new());
    let first = call(&app, "GET", "/_starling/health", Body::empty()).await;
    let second = call(&app, "GET", "/nothing", Body::empty()).await;
    let (first, second) = (
        &first.headers["x-request-id"],
        &second.headers["x-request-id"],
    );
    assert!(
        first.len() == 16 && second.len() == 16 && first != second,
        "{first:?} {second:?}"
    );
}
