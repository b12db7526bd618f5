//! The request log says what is needed, and no secret.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;

use axum::Router;
use axum::body::Body;
use http::Request;
use serde_json::Value;
use starling_http::{Auth, Json, MatrixError, Peer, Query, RawBody, Routes};

use crate::fixture::{app, send};
use crate::servers::{signed, unlimited};

thread_local! {
    /// What this test's thread has logged: the subscriber is the process's, since tracing remembers between threads what
    /// nobody listens to.
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Written;

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.with_borrow_mut(|written| written.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::DEBUG);
        subscriber.with_writer(|| Written).init();
    });
}

/// What is logged at debug level while these requests are answered, a JSON object per line.
async fn logged(requests: Vec<Request<Body>>) -> (String, Vec<Value>) {
    let app = app(Routes::new()
        .post(
            "/rooms/{room}",
            Auth::User,
            async |Query(query): Query<Value>, RawBody(_): RawBody| Json(query),
        )
        .get("/broken", Auth::None, async || {
            MatrixError::internal(Outer(io::Error::other("sector 7")))
        })
        .get("/panic", Auth::None, async || -> Json<()> {
            panic!("at the disco")
        }));
    logged_by(&app, requests).await
}

/// What is logged while these requests to a service are answered.
async fn logged_by(app: &Router, requests: Vec<Request<Body>>) -> (String, Vec<Value>) {
    listen();
    for request in requests {
        send(app, request).await;
    }
    let text = String::from_utf8(WRITTEN.take()).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (text, lines)
}

#[derive(Debug, thiserror::Error)]
#[error("the event cannot be stored")]
struct Outer(#[source] io::Error);

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn one_line_per_request_without_its_secrets() {
    let request = Request::post("/rooms/!SECRETROOM:a?access_token=SECRET1&x=SECRET2")
        .header("authorization", "Bearer alice")
        .header("cookie", "SECRET3")
        .extension(Peer("203.0.113.9:5".parse().unwrap()))
        .body(Body::from("SECRET4"))
        .unwrap();
    let (text, lines) = logged(vec![request]).await;
    assert!(
        !text.contains("SECRET") && !text.contains("alice"),
        "{text}"
    );
    let [line] = &lines[..] else { panic!("{text}") };
    assert_eq!(
        (&line["level"], &line["fields"]["message"]),
        (&"INFO".into(), &"answered".into())
    );
    assert_eq!(line["fields"]["status"], 200);
    assert!(line["fields"]["duration_ms"].is_u64(), "{line}");
    let span = &line["span"];
    assert_eq!(
        (&span["method"], &span["route"]),
        (&"POST".into(), &"/rooms/{room}".into())
    );
    assert_eq!(
        (&span["address"], span["id"].as_str().unwrap().len()),
        (&"203.0.113.9".into(), 16)
    );
}

#[tokio::test]
async fn a_request_of_a_server_is_logged_with_its_name_and_the_room() {
    let (app, _) = unlimited();
    let path = "/rooms/%21a%0Ab:peer.example?x=SECRET";
    let request = |auth: &str| {
        let request = Request::get(path).header("authorization", auth);
        request.body(Body::empty()).unwrap()
    };
    let good = signed("GET", path, None);
    let bad = good.replace("ed25519:k", "ed25519:other");
    let (text, lines) = logged_by(&app, vec![request(&good), request(&bad)]).await;
    assert!(!text.contains("SECRET"), "{text}");
    let [good, bad] = &lines[..] else {
        panic!("{text}")
    };
    for (line, status) in [(good, 200), (bad, 401)] {
        assert_eq!(line["fields"]["status"], status, "{line}");
        assert_eq!(line["span"]["origin"], "peer.example");
        assert_eq!(line["span"]["room"], "!a\\nb:peer.example");
    }
}

#[tokio::test]
async fn what_is_made_up_is_named_within_bounds() {
    let request = Request::builder()
        .method("SECRET")
        .uri(format!("/_matrix/{}?x=SECRET", "a".repeat(1000)))
        .body(Body::empty())
        .unwrap();
    let (text, lines) = logged(vec![request]).await;
    assert!(!text.contains("SECRET"), "{text}");
    assert_eq!(
        (&lines[0]["span"]["route"], &lines[0]["span"]["method"]),
        (&"unmatched".into(), &"other".into())
    );
    let fields = &lines[0]["fields"];
    assert_eq!(fields["path"], format!("/_matrix/{}", "a".repeat(191)));
    assert_eq!(fields["errcode"], "M_UNRECOGNIZED");
}

#[tokio::test]
async fn a_failure_is_logged_once_with_its_causes() {
    let (text, lines) = logged(vec![get("/broken")]).await;
    let errors: Vec<&Value> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert_eq!(
        errors[0]["fields"]["error"],
        "the event cannot be stored: sector 7"
    );
    assert_eq!(errors[0]["span"]["route"], "/broken");
    let (text, lines) = logged(vec![get("/panic")]).await;
    let errors: Vec<&Value> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert_eq!(errors[0]["fields"]["error"], "panic: at the disco");
}

#[tokio::test]
async fn what_operators_machines_ask_all_the_time_is_for_debugging() {
    let (_, lines) = logged(vec![get("/_starling/health")]).await;
    assert_eq!(lines[0]["level"], "DEBUG");
}
