//! The page for Prometheus.

use axum::body::Body;
use starling_config::{Listener, RateLimits, Serves};
use starling_http::{Auth, JsonBytes, Limited, Metrics, Routes};

use crate::fixture::{App, call, call_as, edge};

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    // The recorder is the process's, so this is the one test that installs it.
    let edge = edge(Some(Metrics::install().unwrap()));
    assert!(Metrics::install().is_err());
    let routes =
        || Routes::<App>::new().get("/counted/{room}", Auth::None, async || JsonBytes::empty());
    let open = edge.app(&Listener::default(), routes().into_router(App::default()));
    let listener = Listener {
        serves: vec![Serves::Metrics],
        ..Listener::default()
    };
    let operators = edge.app(&listener, axum::Router::new());
    assert_eq!(
        call(&open, "GET", "/_starling/metrics", Body::empty())
            .await
            .status
            .as_u16(),
        404
    );
    for room in ["a", "b"] {
        call(&open, "GET", &format!("/counted/{room}"), Body::empty()).await;
    }
    call(&open, "PUT", "/counted/c", Body::empty()).await;
    let one = RateLimits {
        rooms_burst: 1,
        ..RateLimits::default()
    };
    let limited = Routes::<App>::new()
        .get("/limited", Auth::User, async || JsonBytes::empty())
        .limit(Limited::RoomCreation);
    let limited = edge.app(
        &Listener::default(),
        limited.into_router(App::limited(&one)),
    );
    for status in [200, 429, 429] {
        let answer = call_as(&limited, "alice", "GET", "/limited").await;
        assert_eq!(answer.status.as_u16(), status);
    }
    let page = call(&operators, "GET", "/_starling/metrics", Body::empty()).await;
    assert!(
        page.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    let line = |name: &str, labels: &[&str]| {
        let lines = page.body.lines().filter(|line| line.starts_with(name));
        let mut lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        lines
            .next()
            .unwrap_or_else(|| panic!("no {name} {labels:?} in {}", page.body))
            .to_owned()
    };
    let route = "route=\"/counted/{room}\"";
    let counted = line(
        "starling_http_requests_total{",
        &[route, "method=\"GET\"", "status=\"2xx\""],
    );
    assert!(counted.ends_with(" 2"), "{counted}");
    let refused = line(
        "starling_http_requests_total{",
        &[route, "method=\"PUT\"", "status=\"4xx\""],
    );
    assert!(refused.ends_with(" 1"), "{refused}");
    let took = line(
        "starling_http_request_duration_seconds_bucket{",
        &[route, "method=\"GET\"", "le=\"+Inf\""],
    );
    assert!(took.ends_with(" 2"), "{took}");
    line("starling_http_requests_in_flight ", &[]);
    let too_much = line(
        "starling_http_rate_limited_total{",
        &["kind=\"room_creation\""],
    );
    assert!(too_much.ends_with(" 2"), "{too_much}");
    assert!(!page.body.contains("/counted/a"), "{}", page.body);
}
