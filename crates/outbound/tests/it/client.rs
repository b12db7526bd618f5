//! Signed requests, what refusals are, and leaving servers alone that are down.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use ruma_common::OwnedServerName;
use starling_events::request_auth::RequestAuth;
use starling_outbound::{Addresses, RemoteError, Request};

use crate::support::{Authority, Peer, Setting, dead_port};

fn server(port: u16) -> OwnedServerName {
    format!("127.0.0.1:{port}")
        .try_into()
        .expect("a server name")
}

fn refusal(status: u16, body: &'static str) -> Response<&'static str> {
    Response::builder()
        .status(status)
        .body(body)
        .expect("an answer")
}

#[tokio::test]
async fn requests_are_signed_for_whom_they_are() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "127.0.0.1").await;
    peer.answers(Response::new(r#"{"ok":true}"#));
    let setting = Setting::new();
    let client = setting.client(setting.network(&authority, Arc::default(), Addresses::All));
    let (name, uri) = (server(peer.port), "/_matrix/federation/v1/send/1?a=%20b");
    let body = br#"{"pdus":[]}"#.as_slice();
    let answer: serde_json::Value = client
        .ask(&name, Request::put(uri, body))
        .await
        .expect("an answer");
    assert_eq!(answer, serde_json::json!({"ok": true}));
    let asked = peer.last();
    assert_eq!((asked.uri.as_str(), &*asked.body), (uri, body));
    let auth = RequestAuth::parse(&asked.authorization).expect("a header");
    assert_eq!(auth.origin.as_str(), "here.example");
    assert_eq!(auth.destination.as_ref(), Some(&name));
    let key = client.identity().signing_key.verifying_key();
    assert!(auth.verifies(("PUT", uri, Some(body)), &name, &key));
}

#[tokio::test]
async fn refusals_say_what_the_other_server_said() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "127.0.0.1").await;
    let setting = Setting::new();
    let client = setting.client(setting.network(&authority, Arc::default(), Addresses::All));
    let name = server(peer.port);
    peer.answers(refusal(403, r#"{"errcode":"M_FORBIDDEN","error":"no"}"#));
    let Err(RemoteError::Refused {
        status,
        errcode,
        error,
        ..
    }) = client.request(&name, Request::get("/x")).await
    else {
        panic!("it was refused");
    };
    assert_eq!(
        (status, errcode.as_str(), error.as_str()),
        (StatusCode::FORBIDDEN, "M_FORBIDDEN", "no")
    );
    for (status, body, is_unknown) in [
        (404, r#"{"errcode":"M_UNRECOGNIZED"}"#, true),
        (405, "", true),
        (404, "<html>", true),
        (404, r#"{"errcode":"M_NOT_FOUND"}"#, false),
        (400, "{}", false),
    ] {
        peer.answers(refusal(status, body));
        let refused = client.request(&name, Request::get("/x")).await;
        let refused = refused.expect_err("it is refused");
        assert_eq!(refused.is_unknown_endpoint(), is_unknown, "{status} {body}");
    }
    peer.answers(Response::new("[1]"));
    let answer = client
        .ask::<std::collections::BTreeMap<String, String>>(&name, Request::get("/x"))
        .await;
    assert!(
        matches!(answer, Err(RemoteError::Malformed { .. })),
        "{answer:?}"
    );
    // None of this means that the server is down.
    assert_eq!(client.health().retry_at(&name), None);
}

#[tokio::test]
async fn a_server_that_is_down_is_left_alone_until_it_speaks() {
    let authority = Authority::new();
    let setting = Setting::new();
    let client = setting.client(setting.network(&authority, Arc::default(), Addresses::All));
    let name = server(dead_port().await);
    let answer = client.request(&name, Request::get("/x")).await;
    assert!(
        matches!(answer, Err(RemoteError::Unreachable { .. })),
        "{answer:?}"
    );
    let answer = client.request(&name, Request::get("/x")).await;
    assert!(
        matches!(answer, Err(RemoteError::BackedOff { .. })),
        "{answer:?}"
    );
    client.health().is_up(&name);
    let answer = client.request(&name, Request::get("/x")).await;
    assert!(
        matches!(answer, Err(RemoteError::Unreachable { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_server_in_trouble_is_left_alone() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "127.0.0.1").await;
    let setting = Setting::new();
    let client = setting.client(setting.network(&authority, Arc::default(), Addresses::All));
    let name = server(peer.port);
    peer.answers(refusal(502, "<html>"));
    let answer = client.request(&name, Request::get("/x")).await;
    assert_eq!(
        answer.expect_err("it is refused").status(),
        Some(StatusCode::BAD_GATEWAY)
    );
    assert!(client.health().retry_at(&name).is_some());
}

#[tokio::test]
async fn an_answer_is_waited_for_as_long_as_was_said() {
    let authority = Authority::new();
    // It accepts and never shakes hands.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let name = server(listener.local_addr().expect("an address").port());
    let setting = Setting::new();
    let client = setting.client(setting.network(&authority, Arc::default(), Addresses::All));
    let request = Request::get("/x").patience(Duration::from_millis(50));
    let answer = client.request(&name, request).await;
    assert!(
        matches!(answer, Err(RemoteError::Unreachable { .. })),
        "{answer:?}"
    );
}
