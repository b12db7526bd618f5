//! How the server stops: requests in flight are finished, within bounds.

use std::sync::Arc;
use std::time::Duration;

use starling_http::{Auth, JsonBytes, Limits, Routes, Shutdown};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::fixture::{App, PATIENCE, Running, read_to_end, read_until, start};

/// Handlers that say when they were called.
struct Handlers {
    called: Arc<Notify>,
    go_on: Arc<Notify>,
    running: Running,
}

async fn start_with(limits: Limits) -> Handlers {
    let (called, go_on, shutdown) = (
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
        Shutdown::new(),
    );
    let (here, waiting) = (called.clone(), go_on.clone());
    let slow = move || {
        let (here, waiting) = (here.clone(), waiting.clone());
        async move {
            here.notify_one();
            waiting.notified().await;
            JsonBytes::empty()
        }
    };
    let (here, stopping) = (called.clone(), shutdown.clone());
    let poll = move || {
        let (here, stopping) = (here.clone(), stopping.clone());
        async move {
            here.notify_one();
            stopping.begun().await;
            JsonBytes("{\"early\":true}".into())
        }
    };
    let routes = Routes::<App>::new()
        .get("/slow", Auth::None, slow)
        .get("/poll", Auth::None, poll)
        .get("/x", Auth::None, async || JsonBytes::empty());
    Handlers {
        called,
        go_on,
        running: start(routes, limits, shutdown).await,
    }
}

impl Handlers {
    /// A request whose handler is running.
    async fn request(&self, path: &str) -> TcpStream {
        let stream = self
            .running
            .connect(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        tokio::time::timeout(PATIENCE, self.called.notified())
            .await
            .unwrap();
        stream
    }

    async fn stopped(self) {
        tokio::time::timeout(PATIENCE, self.running.server)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn requests_in_flight_are_finished() {
    let handlers = start_with(Limits::default()).await;
    let mut resting = handlers
        .running
        .connect("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    read_until(&mut resting, "\r\n\r\n{}").await;
    let mut stream = handlers.request("/slow").await;
    handlers.running.shutdown.begin();
    // The resting connection closes: the stop is under way. Nobody new gets in.
    assert_eq!(read_to_end(&mut resting).await, "");
    while TcpStream::connect(handlers.running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!handlers.running.server.is_finished());
    handlers.go_on.notify_one();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{}"),
        "{answer}"
    );
    handlers.stopped().await;
}

#[tokio::test]
async fn long_polls_end_early() {
    let handlers = start_with(Limits::default()).await;
    let mut stream = handlers.request("/poll").await;
    handlers.running.shutdown.begin();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("{\"early\":true}"), "{answer}");
    handlers.stopped().await;
}

#[tokio::test]
async fn what_does_not_end_is_cut_off() {
    let handlers = start_with(Limits {
        drain: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let mut stream = handlers.request("/slow").await;
    handlers.running.shutdown.begin();
    assert_eq!(read_to_end(&mut stream).await, "");
    handlers.stopped().await;
}

#[tokio::test]
async fn a_shutdown_is_known_to_all_clones_for_good() {
    let shutdown = Shutdown::new();
    let clone = shutdown.clone();
    assert!(!clone.has_begun());
    shutdown.begin();
    shutdown.begin();
    clone.begun().await;
    assert!(clone.has_begun());
}
