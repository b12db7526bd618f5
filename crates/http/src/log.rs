//! The request log: one line per request. Never its query string, its headers or its body: they hold secrets.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::MatchedPath;
use http::request::Parts;
use http::{Method, StatusCode};
use tracing::Span;

/// The name of a route that there is not, so that made-up paths fill neither log nor metrics.
const UNMATCHED: &str = "unmatched";
/// Where what operators' machines call all the time lies; it is logged only for debugging.
const OPERATORS: &str = "/_starling/";

/// What is told of a request, in the log and in the metrics.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) method: &'static str,
    route: Option<MatchedPath>,
}

impl Described {
    /// Describes a request that has been routed.
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            method: method(&parts.method),
            route: parts.extensions.get().cloned(),
        }
    }

    /// The template of its path.
    pub(crate) fn route(&self) -> &str {
        self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str)
    }

    /// The span that everything about this request is logged in.
    pub(crate) fn span(&self, id: &str, address: Option<IpAddr>) -> Span {
        let address = address.map(tracing::field::display);
        tracing::info_span!(
            "request",
            id,
            method = self.method,
            route = self.route(),
            address
        )
    }

    /// Logs how it ended; to be called within the span.
    pub(crate) fn log(&self, status: StatusCode, took: Duration) {
        let status = status.as_u16();
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.route().starts_with(OPERATORS) {
            tracing::debug!(status, duration_ms, "answered");
        } else {
            tracing::info!(status, duration_ms, "answered");
        }
    }
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
