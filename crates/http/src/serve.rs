//! One connection: HTTP/1.1 and HTTP/2, bounded in time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::activity::{Activity, Counted, Progress};
use crate::body::BodyTime;
use crate::{Limits, Peer, Shutdown};

/// When the system begins to ask whether the peer of a silent connection is still there.
const TCP_KEEPALIVE: Duration = Duration::from_mins(1);
/// How often an HTTP/2 peer is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const PING_WAIT: Duration = Duration::from_secs(20);
/// How many streams an HTTP/2 peer may open and reset before they are looked at; then the connection ends.
const RESETS_PENDING: usize = 20;
/// How many streams an HTTP/2 peer may have us reset by breaking the protocol; then the connection ends.
const RESETS_PROVOKED: usize = 64;

/// How the connections of one listener are served.
pub(crate) struct Connections {
    app: Router,
    tls: Option<TlsAcceptor>,
    http: Builder<TokioExecutor>,
    limits: Arc<Limits>,
    shutdown: Shutdown,
}

impl Connections {
    /// With this service, and TLS or not.
    pub(crate) fn new(
        app: Router,
        tls: Option<TlsAcceptor>,
        limits: Arc<Limits>,
        shutdown: Shutdown,
    ) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle)
            .max_buf_size(limits.head_bytes as usize);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.head_bytes)
            .max_pending_accept_reset_streams(RESETS_PENDING)
            .max_local_error_reset_streams(RESETS_PROVOKED)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WAIT);
        Self {
            app,
            tls,
            http,
            limits,
            shutdown,
        }
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let options = stream.set_nodelay(true);
        let keepalive =
            SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE));
        if let Err(error) = options.and(keepalive) {
            // It can only be that the peer is gone already.
            tracing::debug!(%error, %peer, "connection without options");
        }
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, peer).await;
        };
        let handshake = tokio::time::timeout(self.limits.tls_handshake, tls.accept(stream));
        match Box::pin(handshake).await {
            Ok(Ok(stream)) => Box::pin(self.serve_http(stream, peer)).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
    }

    async fn serve_http<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        io: I,
        peer: SocketAddr,
    ) {
        let activity = Arc::new(Activity::default());
        let service = service_fn(|request| self.answer(request, peer, &activity));
        let io = TokioIo::new(Counted::new(io, activity.clone()));
        let mut connection = pin!(self.http.serve_connection(io, service));
        let mut stopping = pin!(self.shutdown.begun());
        let mut is_closing = false;
        let mut wait = self.limits.first_request;
        let mut last = Progress::default();
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, %peer, "connection ended early");
                    }
                    return;
                }
                () = stopping.as_mut(), if !is_closing => {
                    connection.as_mut().graceful_shutdown();
                    is_closing = true;
                }
                () = tokio::time::sleep(wait) => {
                    let is_quiet = activity.is_quiet_since(last, self.limits.least_taken);
                    // Either it never asked for anything, or it had its time to close.
                    if is_quiet && (last.begun == 0 || is_closing) {
                        return;
                    }
                    if is_quiet {
                        connection.as_mut().graceful_shutdown();
                        is_closing = true;
                    }
                    last = activity.progress();
                    wait = self.limits.idle;
                }
            }
        }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
        let working = activity.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(BodyTime(self.limits.body));
        let answer = self.app.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(working);
            answer
        }
    }
}
