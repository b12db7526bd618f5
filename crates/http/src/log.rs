//! The request log: one line per request. Never its query string, its headers or its body: they hold secrets.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::response::Response;
use http::Method;
use http::request::Parts;
use ruma_common::ServerName;
use tracing::Span;
use tracing::field::{Empty, display};

use crate::error::ErrorCode;

/// The name of a route that there is not, so that made-up paths do not fill the metrics.
const UNMATCHED: &str = "unmatched";
/// How much of a path without a route is logged, in bytes.
const PATH_BYTES: usize = 200;
/// Where what operators' machines call all the time lies; it is logged only for debugging.
const OPERATORS: &str = "/_starling/";

/// What is told of a request, in the log and in the metrics.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) method: &'static str,
    route: Option<MatchedPath>,
    /// The beginning of the path, escaped, when there is no route.
    path: Option<String>,
}

impl Described {
    /// Describes a request that has been routed.
    pub(crate) fn new(parts: &Parts) -> Self {
        let route: Option<MatchedPath> = parts.extensions.get().cloned();
        let path = route.is_none().then(|| shown(parts.uri.path()));
        Self {
            method: method(&parts.method),
            route,
            path,
        }
    }

    /// The template of its path.
    pub(crate) fn route(&self) -> &str {
        self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str)
    }

    /// The span that everything about this request is logged in.
    pub(crate) fn span(&self, id: &str, address: Option<IpAddr>) -> Span {
        let address = address.map(display);
        tracing::info_span!(
            "request",
            id,
            method = self.method,
            route = self.route(),
            address,
            origin = Empty,
            room = Empty
        )
    }

    /// Logs how it ended; to be called within the span.
    pub(crate) fn log(&self, response: &Response, took: Duration) {
        let status = response.status().as_u16();
        let errcode = response.extensions().get().map(|ErrorCode(code)| *code);
        let path = self.path.as_deref();
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.route().starts_with(OPERATORS) {
            tracing::debug!(status, duration_ms, errcode, "answered");
        } else {
            tracing::info!(status, duration_ms, errcode, path, "answered");
        }
    }
}

/// Adds to the log of a request which server it says it is from, and which room its path names.
pub(crate) async fn note_origin(parts: &mut Parts, origin: &ServerName) {
    let span = Span::current();
    span.record("origin", display(origin));
    if let Ok(params) = RawPathParams::from_request_parts(parts, &()).await
        && let Some((_, room)) = params.iter().find(|(name, _)| *name == "roomId")
    {
        span.record("room", display(shown(room)));
    }
}

/// The beginning of a path, or of a part of it, as it may stand in a log.
fn shown(path: &str) -> String {
    let start = path
        .get(..path.floor_char_boundary(PATH_BYTES))
        .unwrap_or_default();
    let mut text = start.escape_debug().to_string();
    text.truncate(text.floor_char_boundary(PATH_BYTES));
    text
}

/// The method's name; what peers make up has none.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
