//! What peers may cost: slow, silent, greedy and rude ones.

use std::time::Duration;

use starling_http::{Auth, JsonBytes, Limits, ListenError, RawBody, Routes, Server, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{App, Running, app, loopback, read_to_end, read_until, start};

const SHORT: Duration = Duration::from_millis(200);

fn routes() -> Routes<App> {
    Routes::new()
        .get("/x", Auth::None, async || JsonBytes::empty())
        .get("/panic", Auth::None, async || -> JsonBytes {
            panic!("on purpose")
        })
        .post("/x", Auth::None, async |RawBody(_): RawBody| {
            JsonBytes::empty()
        })
        .body_limit(100)
}

async fn start_with(limits: Limits) -> Running {
    start(routes(), limits, Shutdown::new()).await
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let server = start_with(Limits::default()).await;
    let mut stream = server.connect("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let first = read_until(&mut stream, "\r\n\r\n{}").await;
    assert!(
        first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("content-length: 2\r\n"),
        "{first}"
    );
    stream
        .write_all(
            b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        )
        .await
        .unwrap();
    assert!(
        read_to_end(&mut stream)
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[tokio::test]
async fn a_silent_peer_is_dropped() {
    let server = start_with(Limits {
        first_request: SHORT,
        ..Limits::default()
    })
    .await;
    assert_eq!(server.exchange("").await, "");
    // Enough of the preface of HTTP/2 for the versions to be undecided.
    assert_eq!(server.exchange("PRI * HT").await, "");
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let server = start_with(Limits {
        first_request: SHORT,
        ..Limits::default()
    })
    .await;
    assert_eq!(
        server
            .exchange("GET /x HTTP/1.1\r\nHost: a\r\nX-Slow")
            .await,
        ""
    );
    let server = start_with(Limits {
        idle: SHORT,
        ..Limits::default()
    })
    .await;
    let mut stream = server.connect("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    read_until(&mut stream, "\r\n\r\n{}").await;
    stream
        .write_all(b"GET /x HTTP/1.1\r\nX-Slow")
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_resting_connection_makes_room_for_others() {
    let server = start_with(Limits {
        idle: SHORT,
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = server.connect("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    read_until(&mut first, "\r\n\r\n{}").await;
    let second = server
        .exchange("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(second.starts_with("HTTP/1.1 200 OK\r\n"), "{second}");
    assert_eq!(read_to_end(&mut first).await, "");
}

#[tokio::test]
async fn a_resting_http2_connection_is_closed() {
    let server = start_with(Limits {
        idle: SHORT,
        first_request: SHORT,
        ..Limits::default()
    })
    .await;
    let mut stream = server.connect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's settings come first: {frame:?}");
    let mut settings = vec![0; usize::from(frame[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let setting = |id: u16| {
        settings
            .chunks(6)
            .find(|setting| setting[..2] == id.to_be_bytes())
            .map(|s| s[2..].to_vec())
    };
    assert_eq!(
        setting(3),
        Some(128_u32.to_be_bytes().to_vec()),
        "concurrent streams"
    );
    assert_eq!(
        setting(6),
        Some(65_536_u32.to_be_bytes().to_vec()),
        "size of headers"
    );
    read_to_end(&mut stream).await;
}

#[tokio::test]
async fn a_slow_body_is_cut_off() {
    let server = start_with(Limits {
        body: SHORT,
        ..Limits::default()
    })
    .await;
    let answer = server
        .exchange("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"M_UNKNOWN\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let server = start_with(Limits::default()).await;
    let answer = server
        .exchange("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("M_TOO_LARGE"),
        "{answer}"
    );
    let chunk = format!("65\r\n{}\r\n", "x".repeat(0x65));
    let answer = server
        .exchange(&format!(
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
        ))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("M_TOO_LARGE"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let server = start_with(Limits {
        head_bytes: 16 << 10,
        ..Limits::default()
    })
    .await;
    let answer = server
        .exchange(&format!(
            "GET /x HTTP/1.1\r\nHost: a\r\nX-Large: {}",
            "x".repeat(32 << 10)
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = start_with(Limits::default()).await;
    let answer = server.exchange("\x16\x03\x01\x02\x00 this is TLS").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_connection_survives_a_panic() {
    let server = start_with(Limits::default()).await;
    let mut stream = server
        .connect("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let first = read_until(&mut stream, "}").await;
    assert!(first.starts_with("HTTP/1.1 500 "), "{first}");
    stream
        .write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(
        read_to_end(&mut stream)
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[tokio::test]
async fn an_address_is_listened_on_once() {
    let mut server = Server::new(Limits::default(), Shutdown::new());
    let mut listener = loopback();
    listener.address = server.listen(&listener, app(routes())).await.unwrap();
    let error = server.listen(&listener, app(routes())).await.unwrap_err();
    assert!(matches!(error, ListenError::Bind(..)));
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}", listener.address)
    );
}
