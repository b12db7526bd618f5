//! What peers may cost: slow, silent, greedy and rude ones.

use std::net::Ipv4Addr;
use std::time::Duration;

use starling_config::Listener;
use starling_http::{Auth, JsonBytes, Limits, ListenError, RawBody, Routes, Server, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::fixture::{
    App, PATIENCE, Running, app, loopback, read_to_end, read_until, start, start_on,
};

const SHORT: Duration = Duration::from_millis(200);

fn routes() -> Routes<App> {
    Routes::new()
        .get("/x", Auth::None, async || JsonBytes::empty())
        .get("/panic", Auth::None, async || -> JsonBytes {
            panic!("on purpose")
        })
        .get("/much", Auth::None, async || {
            JsonBytes(vec![b'x'; MUCH].into())
        })
        .post("/x", Auth::None, async |RawBody(_): RawBody| {
            JsonBytes::empty()
        })
        .body_limit(100)
}

/// More than sockets hold between server and client.
const MUCH: usize = 32 << 20;

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

const CLOSE: &str = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let server = start_with(Limits {
        connections: 3,
        connections_per_address: 2,
        ..Limits::default()
    })
    .await;
    let first = server.connect("").await;
    let _second = server.connect("GET /x HTTP/1.1\r\nX-Slow").await;
    // What is sent to a closed connection is answered by a reset.
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_end(&mut third).await, "");
    // Others still come in.
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())
        .unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    other.write_all(CLOSE.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut other).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // Whoever closes one may open another.
    drop(first);
    let again = async {
        loop {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(CLOSE.as_bytes()).await.ok();
            if read_to_end(&mut stream).await.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_trusted_proxy_has_as_many_connections_as_it_needs() {
    let listener = Listener {
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..loopback()
    };
    let limits = Limits {
        connections_per_address: 1,
        ..Limits::default()
    };
    let server = start_on(&listener, routes(), limits, Shutdown::new()).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        read_until(&mut stream, "\r\n\r\n{}").await;
        open.push(stream);
    }
}

#[tokio::test]
async fn a_peer_that_takes_no_answer_is_dropped() {
    let limits = || Limits {
        idle: SHORT,
        first_request: SHORT,
        connections: 1,
        ..Limits::default()
    };
    let server = start_with(limits()).await;
    let _greedy = server
        .connect("GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let answer = server.exchange(CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // With HTTP/2 it is enough to give no window, and to answer pings.
    let server = start_with(limits()).await;
    let mut greedy = server.connect(PREFACE).await;
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let asked = [no_window, headers(1, "/much")].concat();
    greedy.write_all(&asked).await.unwrap();
    let answer = server.exchange(CLOSE).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_peer_that_takes_its_time_gets_its_answer() {
    let server = start_with(Limits {
        idle: SHORT / 2,
        first_request: SHORT / 2,
        ..Limits::default()
    })
    .await;
    let mut stream = server
        .connect("GET /much HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let (mut taken, mut part) = (0, vec![0; 1 << 20]);
    loop {
        let bytes = stream.read(&mut part).await.unwrap();
        if bytes == 0 {
            break;
        }
        taken += bytes;
        // In all, several times as long as a connection may rest.
        let share = u32::try_from(MUCH / bytes).unwrap();
        tokio::time::sleep(SHORT * 5 / share).await;
    }
    assert!(taken > MUCH, "{taken}");
}

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2: <https://www.rfc-editor.org/rfc/rfc9113#section-4.1>
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The frame of a whole request without a body.
fn headers(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    // `GET` and `http` of the static table, then path and authority as literals.
    let fields = [
        &[0x82, 0x86, 0x04, length],
        path.as_bytes(),
        &[0x01, 1, b'a'],
    ]
    .concat();
    frame(1, 0x5, stream, &fields)
}

/// Why the server says goodbye on a connection of HTTP/2: the codes of its `GOAWAY` frames.
async fn goodbyes(mut stream: TcpStream) -> Vec<u32> {
    let mut read = Vec::new();
    // A reset after the goodbye is an end too.
    let reading = stream.read_to_end(&mut read);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the connection stays open")
        .ok();
    let mut codes = Vec::new();
    let mut rest = &read[..];
    while rest.len() >= 9 {
        let length = usize::from(rest[1]) << 8 | usize::from(rest[2]);
        if rest[3] == 7 {
            codes.push(u32::from_be_bytes(rest[13..17].try_into().unwrap()));
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    codes
}

/// `ENHANCE_YOUR_CALM`
const CALM: u32 = 11;

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_speed_end_the_connection() {
    let server = start_with(Limits::default()).await;
    let mut sent = [PREFACE.as_bytes(), &frame(4, 0, 0, &[])].concat();
    for stream in (1..2000).step_by(2) {
        sent.extend(headers(stream, "/x"));
        sent.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let mut stream = server.connect("").await;
    // It may be closed before all is sent.
    stream.write_all(&sent).await.ok();
    assert_eq!(goodbyes(stream).await, [CALM]);
}

#[tokio::test]
async fn headers_without_end_end_the_connection() {
    let server = start_with(Limits::default()).await;
    let (reader, mut writer) = {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let stream = stream.into_std().unwrap();
        let clone = stream.try_clone().unwrap();
        (
            TcpStream::from_std(stream).unwrap(),
            TcpStream::from_std(clone).unwrap(),
        )
    };
    let flood = async move {
        let start = [
            PREFACE.as_bytes(),
            &frame(4, 0, 0, &[]),
            &frame(1, 0x1, 1, &[0x82]),
        ]
        .concat();
        let mut sent = writer.write_all(&start).await;
        // A literal field, again and again, and never the flag that ends them.
        let field = [&[0x00, 1, b'x', 0x7f, 0xa1, 0x1e], &[b'y'; 4000][..]].concat();
        while sent.is_ok() {
            sent = writer.write_all(&frame(9, 0, 1, &field)).await;
        }
    };
    let (codes, ()) = tokio::join!(goodbyes(reader), flood);
    assert_eq!(codes, [CALM]);
}
