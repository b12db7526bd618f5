//! A request to another server, and who takes it there.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use ruma_common::ServerName;

use crate::OutboundError;

/// How much of an answer is read where nothing else is said: 1 MiB.
const ANSWER_BYTES: usize = 1 << 20;
/// How long an answer is waited for where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// The methods that requests between servers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Without a body.
    Get,
    /// With a body.
    Post,
    /// With a body.
    Put,
}

impl Method {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// A request to another server.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded, from the slash: what is signed.
    pub uri: String,
    /// A JSON object in canonical form, for methods with a body.
    pub body: Option<Bytes>,
    /// The `Authorization` header, once it is signed.
    pub authorization: Option<String>,
    /// How long the answer may take, with the way there.
    pub patience: Duration,
    /// Whether somebody waits for it: then also a server is asked that failed lately, now and then.
    pub is_eager: bool,
    /// How many bytes of an answer are taken.
    pub answer_bytes: usize,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn get(uri: impl Into<String>) -> Self {
        Self::new(Method::Get, uri.into(), None)
    }

    /// A request with a body: a JSON object in canonical form.
    #[must_use]
    pub fn post(uri: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::Post, uri.into(), Some(body.into()))
    }

    /// As [`Request::post`], with another method.
    #[must_use]
    pub fn put(uri: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::Put, uri.into(), Some(body.into()))
    }

    fn new(method: Method, uri: String, body: Option<Bytes>) -> Self {
        Self {
            method,
            uri,
            body,
            authorization: None,
            patience: PATIENCE,
            is_eager: false,
            answer_bytes: ANSWER_BYTES,
        }
    }

    /// Waits so long for the answer.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Is made also to a server that failed lately, unless that was tried a moment ago: a user waits for the answer, and the
    /// server may be up again.
    #[must_use]
    pub fn eager(self) -> Self {
        Self {
            is_eager: true,
            ..self
        }
    }

    /// Takes so many bytes of an answer.
    #[must_use]
    pub fn answer_bytes(self, answer_bytes: usize) -> Self {
        Self {
            answer_bytes,
            ..self
        }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, which may be anything.
    pub body: Bytes,
}

/// Takes requests to other servers: over the network, or in a simulation to the router of a server in the same process.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Takes the request there and brings the answer back.
    fn send<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>>;
}
