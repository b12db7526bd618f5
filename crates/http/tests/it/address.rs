//! The caller's address behind proxies.

use std::net::IpAddr;

use axum::body::Body;
use http::Request;
use starling_config::Listener;
use starling_http::{Auth, ClientAddress, Json, Peer, Routes};

use crate::fixture::{App, edge, send};

/// A peer that sends these lines of `X-Forwarded-For` is taken for this address.
async fn check(peer: &str, forwarded: &[&str], expected: &str) {
    let trusted_proxies = ["10.0.0.0/8", "fd00::1"]
        .map(|network| network.parse().unwrap())
        .to_vec();
    let listener = Listener {
        trusted_proxies,
        ..Listener::default()
    };
    let routes = Routes::new().get(
        "/x",
        Auth::User,
        async |ClientAddress(address): ClientAddress| Json(address),
    );
    let state = App::default();
    let app = edge(None).app(&listener, routes.into_router(state.clone()));
    let mut request = Request::get("/x")
        .header("authorization", "Bearer alice")
        .extension(Peer(peer.parse().unwrap()));
    for line in forwarded {
        request = request.header("x-forwarded-for", *line);
    }
    let answer = send(&app, request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        answer.body,
        format!("\"{expected}\""),
        "{peer} {forwarded:?}"
    );
    let expected: IpAddr = expected.parse().unwrap();
    assert_eq!(*state.seen.lock().unwrap(), [Some(expected)]);
}

#[tokio::test]
async fn only_trusted_proxies_are_believed() {
    check("203.0.113.9:5", &[], "203.0.113.9").await;
    check("203.0.113.9:5", &["198.51.100.1"], "203.0.113.9").await;
    check("10.0.0.1:5", &["198.51.100.1"], "198.51.100.1").await;
    check("[fd00::1]:5", &["2001:db8::7"], "2001:db8::7").await;
    check("[::ffff:10.0.0.1]:5", &["198.51.100.1"], "198.51.100.1").await;
}

#[tokio::test]
async fn the_list_is_read_from_the_right() {
    check("10.0.0.1:5", &["1.1.1.1, 198.51.100.1"], "198.51.100.1").await;
    check(
        "10.0.0.1:5",
        &["1.1.1.1, 198.51.100.1, 10.0.0.2"],
        "198.51.100.1",
    )
    .await;
    check(
        "10.0.0.1:5",
        &["1.1.1.1", "198.51.100.1,10.0.0.2", "10.0.0.3"],
        "198.51.100.1",
    )
    .await;
    check("10.0.0.1:5", &["10.0.0.9, 10.0.0.8"], "10.0.0.9").await;
}

#[tokio::test]
async fn what_is_no_address_ends_the_list() {
    check("10.0.0.1:5", &["198.51.100.1, unknown"], "10.0.0.1").await;
    check(
        "10.0.0.1:5",
        &["198.51.100.1, nonsense, 10.0.0.2"],
        "10.0.0.2",
    )
    .await;
    check("10.0.0.1:5", &["\u{e9}, 198.51.100.1"], "198.51.100.1").await;
    check("10.0.0.1:5", &["198.51.100.1, \u{e9}"], "10.0.0.1").await;
    check("10.0.0.1:5", &["198.51.100.1:4711"], "198.51.100.1").await;
    check("10.0.0.1:5", &["[2001:db8::7]:4711"], "2001:db8::7").await;
    check("10.0.0.1:5", &["[2001:db8::7]"], "2001:db8::7").await;
}
