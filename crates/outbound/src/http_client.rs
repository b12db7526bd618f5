//! Requests over pooled connections, with answers of bounded size in bounded time.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::OutboundError;
use crate::connector::{Connector, Finds};
use crate::locator::Places;

/// How long a connection that nobody uses stays open.
const IDLE: Duration = Duration::from_mins(1);
/// How many connections to one server stay open unused.
const IDLE_CONNECTIONS: usize = 4;

/// Sends requests.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
}

impl HttpClient {
    pub(crate) fn new(finds: Finds, places: Places, tls: &ClientConfig) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(Connector::new(finds, places, tls));
        Self { client }
    }

    /// The answer to a request, with at most so many bytes of body; all of it within `patience`.
    pub(crate) async fn fetch(
        &self,
        request: http::Request<Full<Bytes>>,
        patience: Duration,
        bytes: usize,
    ) -> Result<Response<Bytes>, OutboundError> {
        let answer = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| connection_error(&error))?;
            read(answer, bytes).await
        };
        timeout(patience, answer)
            .await
            .map_err(|_| OutboundError::Timeout(patience))?
    }
}

async fn read(answer: Response<Incoming>, bytes: usize) -> Result<Response<Bytes>, OutboundError> {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, bytes).collect().await;
    let body = body.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            OutboundError::TooLarge(bytes)
        } else {
            OutboundError::Connection(error.to_string())
        }
    })?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

/// Ours as it was, else the innermost that the library tells of.
fn connection_error(error: &hyper_util::client::legacy::Error) -> OutboundError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(own) = inner.downcast_ref::<OutboundError>() {
            return own.clone();
        }
        reason = inner.to_string();
        source = inner.source();
    }
    OutboundError::Connection(reason)
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}
