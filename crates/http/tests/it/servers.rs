//! Which servers are let in: <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract;
use http::Request;
use ruma_common::{ServerName, server_name};
use serde_json::{Value, json};
use starling_config::{Listener, RateLimits};
use starling_events::request_auth::sign_request;
use starling_events::{SigningKey, VerifyingKey};
use starling_http::{
    Admits, Auth, BoxError, JsonBytes, MatrixError, Origin, Peer, RateLimiter, RawBody, RouteInfo,
    Routes, Servers, admit_server,
};
use starling_runtime::Clock;

use crate::fixture::{Answer, edge, send};

/// The state of an API that knows one other server.
#[derive(Clone)]
pub(crate) struct Api {
    limiter: RateLimiter,
    heard: Arc<Mutex<Vec<String>>>,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32], "k").unwrap()
}

impl Admits for Api {
    async fn admit(
        &self,
        route: &RouteInfo,
        request: extract::Request,
    ) -> Result<extract::Request, MatrixError> {
        admit_server(self, route, request).await
    }
}

impl Servers for Api {
    fn server_name(&self) -> &ServerName {
        server_name!("here.example")
    }

    async fn key(
        &self,
        server: &ServerName,
        key_id: &str,
    ) -> Result<Option<VerifyingKey>, BoxError> {
        match (server.as_str(), key_id) {
            ("peer.example" | "here.example", "ed25519:k") => Ok(Some(key(1).verifying_key())),
            ("broken.example", _) => Err(std::io::Error::other("no disk").into()),
            _ => Ok(None),
        }
    }

    fn heard_from(&self, server: &ServerName) {
        self.heard.lock().unwrap().push(server.to_string());
    }

    fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }
}

async fn who(Origin(server): Origin, RawBody(body): RawBody) -> String {
    format!("{server} {}", String::from_utf8_lossy(&body))
}

fn routes() -> Routes<Api> {
    Routes::new()
        .get("/signed", Auth::Server, who)
        .put("/signed", Auth::Server, who)
        .post("/small", Auth::Server, who)
        .body_limit(100)
        .get("/rooms/{roomId}", Auth::Server, who)
        .get("/open", Auth::None, async || JsonBytes::empty())
        .get("/users", Auth::User, async || JsonBytes::empty())
}

fn limited(limits: &RateLimits) -> (Router, Api) {
    let api = Api {
        limiter: RateLimiter::new(limits, Clock::simulated(0)),
        heard: Arc::default(),
    };
    let app = edge(None).app(&Listener::default(), routes().into_router(api.clone()));
    (app, api)
}

pub(crate) fn unlimited() -> (Router, Api) {
    limited(&RateLimits {
        enabled: false,
        ..RateLimits::default()
    })
}

/// A request with these headers.
async fn ask(app: &Router, (method, path): (&str, &str), auth: &[String], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    request = request.extension(Peer(([192, 0, 2, 1], 5).into()));
    for header in auth {
        request = request.header("authorization", header);
    }
    send(app, request.body(Body::from(body.to_owned())).unwrap()).await
}

/// The header of a request of the peer.
pub(crate) fn signed(method: &str, path: &str, body: Option<&Value>) -> String {
    let body = body.map(|body| body.to_string().into_bytes());
    sign_request(
        (method, path, body.as_deref()),
        (server_name!("peer.example"), server_name!("here.example")),
        &key(1),
    )
}

#[tokio::test]
async fn a_server_that_has_signed_is_let_in_and_known_to_be_up() {
    let (app, api) = unlimited();
    let path = "/signed?a=%2F&b";
    let answer = ask(&app, ("GET", path), &[signed("GET", path, None)], "").await;
    assert_eq!(answer.body, "peer.example ");
    let body = json!({ "a": 1, "b": [] });
    let auth = [signed("PUT", "/signed", Some(&body))];
    for sent in [r#"{"a":1,"b":[]}"#, " { \"b\": [ ], \"\\u0061\" : 1 } "] {
        let answer = ask(&app, ("PUT", "/signed"), &auth, sent).await;
        assert_eq!(answer.body, r#"peer.example {"a":1,"b":[]}"#, "{sent}");
    }
    assert_eq!(*api.heard.lock().unwrap(), ["peer.example"; 3]);
}

#[tokio::test]
async fn headers_as_older_servers_write_them_are_taken() {
    let (app, _) = unlimited();
    let auth = signed("GET", "/signed", None);
    // Of several headers one that holds is enough; others are of other schemes.
    let other = auth.replace("ed25519:k", "ed25519:other");
    let headers = ["Basic abc".to_owned(), other, auth.clone()];
    let answer = ask(&app, ("GET", "/signed"), &headers, "").await;
    assert_eq!(answer.body, "peer.example ");
    let unquoted = auth.replace("key=\"ed25519:k\"", "key=ed25519:k");
    let answer = ask(&app, ("GET", "/signed"), &[unquoted], "").await;
    assert_eq!(answer.body, "peer.example ");
    // What a GET carries is no part of it, and isn't looked at.
    let answer = ask(&app, ("GET", "/signed"), &[auth], "{").await;
    assert_eq!(answer.body, "peer.example ");
}

#[tokio::test]
async fn nobody_is_let_in_without_a_signature_that_holds() {
    let (app, api) = unlimited();
    let auth = signed("GET", "/signed", None);
    let from = |origin: &ServerName, to: &ServerName, seed: u8| {
        sign_request(("GET", "/signed", None), (origin, to), &key(seed))
    };
    let (peer, here) = (server_name!("peer.example"), server_name!("here.example"));
    let other = server_name!("other.example");
    for (headers, why) in [
        (vec![], "no header"),
        (vec!["Bearer abc".to_owned()], "another scheme"),
        (
            vec!["X-Matrix origin=\"peer.example\"".to_owned()],
            "no signature",
        ),
        (
            vec![auth.replace("peer.example", "peer..example:x")],
            "no server's name",
        ),
        (
            vec![auth.replace("ed25519:k", "ed25519:x")],
            "an unknown key",
        ),
        (vec![from(other, here, 1)], "an unknown server"),
        (vec![from(peer, here, 2)], "another key"),
        (vec![from(peer, other, 1)], "another destination"),
        (
            vec![from(peer, other, 1).replace("other.", "here.")],
            "a changed destination",
        ),
        (vec![from(here, here, 1)], "our own name"),
        (vec![auth.clone(), from(other, here, 1)], "two servers"),
        (vec![signed("PUT", "/signed", None)], "another method"),
        (vec![signed("GET", "/signed?", None)], "another target"),
        (vec![auth; 5], "too many headers"),
    ] {
        let answer = ask(&app, ("GET", "/signed"), &headers, "").await;
        assert_eq!(answer.error(), (401, "M_UNAUTHORIZED".to_owned()), "{why}");
    }
    assert!(api.heard.lock().unwrap().is_empty());
    let broken = from(server_name!("broken.example"), here, 1);
    let answer = ask(&app, ("GET", "/signed"), &[broken], "").await;
    assert_eq!(answer.error(), (500, "M_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_body_is_believed_only_as_it_was_signed() {
    let (app, api) = unlimited();
    let body = json!({ "a": 1 });
    let auth = [signed("PUT", "/signed", Some(&body))];
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let deep = format!("{{\"a\":{deep}}}");
    for (sent, status, errcode) in [
        (r#"{"a":2}"#, 401, "M_UNAUTHORIZED"),
        ("", 401, "M_UNAUTHORIZED"),
        ("{\"a\":1", 400, "M_NOT_JSON"),
        ("\u{fffd}", 400, "M_NOT_JSON"),
        ("[1]", 400, "M_BAD_JSON"),
        (deep.as_str(), 400, "M_BAD_JSON"),
    ] {
        let answer = ask(&app, ("PUT", "/signed"), &auth, sent).await;
        assert_eq!(answer.error(), (status, errcode.to_owned()), "{sent}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100));
    let auth = [signed("POST", "/small", Some(&body))];
    let answer = ask(&app, ("POST", "/small"), &auth, &long).await;
    assert_eq!(answer.error(), (413, "M_TOO_LARGE".to_owned()));
    assert!(api.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_route_for_others_than_its_api_knows_is_a_mistake() {
    let (app, _) = unlimited();
    let answer = ask(&app, ("GET", "/users"), &[], "").await;
    assert_eq!(answer.status, 500);
    assert_eq!(ask(&app, ("GET", "/open"), &[], "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn strangers_are_limited_and_a_server_that_has_signed_is_not_by_them() {
    let (app, _) = limited(&RateLimits {
        anonymous_requests_per_second: 1,
        anonymous_requests_burst: 3,
        ..RateLimits::default()
    });
    let good = [signed("GET", "/signed", None)];
    let bad = [good[0].replace("ed25519:k", "ed25519:x")];
    let mut refused = 0;
    for _ in 0..210 {
        let answer = ask(&app, ("GET", "/signed"), &bad, "").await;
        refused += i32::from(answer.status == 429);
    }
    // Two hundred signatures that don't hold, then a few requests as those of strangers.
    assert_eq!(refused, 10);
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    for _ in 0..20 {
        let answer = ask(&app, ("GET", "/signed"), &good, "").await;
        assert_eq!(answer.status, 200);
    }
}
