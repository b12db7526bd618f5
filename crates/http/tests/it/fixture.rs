//! A small API, an edge around it, and ways to call it: in process and through a socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract;
use futures_util::FutureExt;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use starling_config::{Listener, RateLimits};
use starling_http::{
    Access, Admits, BoxError, Edge, Limits, MatrixError, Metrics, RateLimiter, RouteInfo, Routes,
    Server, Sessions, Shutdown, admit_session,
};
use starling_runtime::{Chance, Clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The state of the small API: tokens are the names of what becomes of them.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) limiter: RateLimiter,
    pub(crate) no_token_in_query: bool,
    pub(crate) seen: Arc<Mutex<Vec<Option<IpAddr>>>>,
}

impl Default for App {
    fn default() -> Self {
        let unlimited = RateLimits {
            enabled: false,
            ..RateLimits::default()
        };
        Self::limited(&unlimited)
    }
}

impl App {
    /// With these limits.
    pub(crate) fn limited(limits: &RateLimits) -> Self {
        Self {
            limiter: RateLimiter::new(limits, Clock::simulated(0)),
            no_token_in_query: false,
            seen: Arc::default(),
        }
    }
}

impl Admits for App {
    async fn admit(
        &self,
        route: &RouteInfo,
        request: extract::Request,
    ) -> Result<extract::Request, MatrixError> {
        admit_session(self, route, request).await
    }
}

impl Sessions for App {
    type Session = String;

    async fn authenticate(
        &self,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<Access<String>, BoxError> {
        self.seen.lock().unwrap().push(address);
        match token {
            "alice" | "bob" | "admin" | "guest" | "suspended" => {
                Ok(Access::Granted(token.to_owned()))
            }
            "locked" => Ok(Access::Locked(token.to_owned())),
            "old" => Ok(Access::SoftLogout),
            "broken" => Err(std::io::Error::other("the disk of sector 7 is gone").into()),
            _ => Ok(Access::Unknown),
        }
    }

    fn is_admin(session: &String) -> bool {
        session == "admin"
    }

    fn is_guest(session: &String) -> bool {
        session == "guest"
    }

    fn is_suspended(session: &String) -> bool {
        session == "suspended"
    }

    fn user_number(session: &String) -> i64 {
        session.bytes().map(i64::from).sum()
    }

    fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }

    fn token_in_query(&self) -> bool {
        !self.no_token_in_query
    }
}

/// An edge that is healthy and has a seed.
pub(crate) fn edge(metrics: Option<Metrics>) -> Edge {
    Edge {
        clock: Clock::system(),
        chance: Chance::seeded(7),
        health: Arc::new(|| async { Ok(()) }.boxed()),
        limiter: App::default().limiter,
        metrics,
    }
}

/// The service of the default listener.
pub(crate) fn app(routes: Routes<App>) -> Router {
    edge(None).app(&Listener::default(), routes.into_router(App::default()))
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// The status and the error code.
    pub(crate) fn error(&self) -> (u16, String) {
        (
            self.status.as_u16(),
            self.json()["errcode"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

/// Calls a service in process.
pub(crate) async fn call(app: &Router, method: &str, path: &str, body: impl Into<Body>) -> Answer {
    send(
        app,
        Request::builder()
            .method(method)
            .uri(path)
            .body(body.into())
            .unwrap(),
    )
    .await
}

/// Calls a service in process with a token in the header.
pub(crate) async fn call_as(app: &Router, token: &str, method: &str, path: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"));
    send(app, request.body(Body::empty()).unwrap()).await
}

/// Calls a service in process.
pub(crate) async fn send(app: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// A server that listens on a port of loopback.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) server: JoinHandle<()>,
}

/// A listener on any port of loopback.
pub(crate) fn loopback() -> Listener {
    Listener {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        ..Listener::default()
    }
}

/// Starts a server for these routes.
pub(crate) async fn start(routes: Routes<App>, limits: Limits, shutdown: Shutdown) -> Running {
    start_on(&loopback(), routes, limits, shutdown).await
}

/// Starts a server for these routes on this listener.
pub(crate) async fn start_on(
    listener: &Listener,
    routes: Routes<App>,
    limits: Limits,
    shutdown: Shutdown,
) -> Running {
    let mut server = Server::new(limits, shutdown.clone());
    let address = server.listen(listener, app(routes)).await.unwrap();
    Running {
        address,
        shutdown,
        server: tokio::spawn(server.run()),
    }
}

impl Running {
    /// A connection on which this has been sent.
    pub(crate) async fn connect(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }

    /// What the server says to this until it closes.
    pub(crate) async fn exchange(&self, sent: &str) -> String {
        let mut stream = self.connect(sent).await;
        read_to_end(&mut stream).await
    }
}

/// All that comes until the other side closes; a reset counts as closing.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut read = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read))
        .await
        .is_ok();
    let read = String::from_utf8_lossy(&read).into_owned();
    assert!(closed, "the connection stays open: {read}");
    read
}

/// Reads until this has come.
pub(crate) async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !read.ends_with(end.as_bytes()) {
            read.push(stream.read_u8().await.unwrap());
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, reading).await.is_ok(),
        "{end:?} does not come"
    );
    String::from_utf8(read).unwrap()
}
