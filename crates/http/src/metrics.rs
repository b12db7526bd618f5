//! Metrics for Prometheus: requests by route, method and class of status, how long they took, how many are in flight.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics::{
    Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::Shutdown;
use crate::log::Described;
use crate::peers::REFUSED;
use crate::rate_limit::{EVICTIONS, REFUSALS};

const REQUESTS: &str = "starling_http_requests_total";
const DURATION: &str = "starling_http_request_duration_seconds";
const IN_FLIGHT: &str = "starling_http_requests_in_flight";

/// The bounds of the histograms, in seconds; long polls end up in the last ones.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0,
];
/// How often what histograms were told is folded into their buckets: unread, it would pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the process has measured.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("the metrics recorder cannot be installed")]
pub struct MetricsError(#[from] BuildError);

impl Metrics {
    /// Begins to record; once per process.
    ///
    /// # Errors
    /// When a recorder is installed already.
    pub fn install() -> Result<Self, MetricsError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?;
        let handle = builder.install_recorder()?;
        describe_counter!(
            REQUESTS,
            "Requests answered, by route, method and class of status."
        );
        describe_histogram!(
            DURATION,
            "How long requests took, in seconds, by route and method."
        );
        describe_counter!(
            REFUSALS,
            "Requests refused by rate limits, by kind of action."
        );
        describe_counter!(
            EVICTIONS,
            "Callers that rate limits forgot early, as there were more than they have room for."
        );
        describe_counter!(
            REFUSED,
            "Connections closed at once, as their address had too many."
        );
        describe_gauge!(IN_FLIGHT, "Requests in flight.");
        Ok(Self { handle })
    }

    /// Keeps what is recorded small until the server stops; the program spawns it.
    pub async fn upkeep(self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => return,
                _ = ticks.tick() => self.handle.run_upkeep(),
            }
        }
    }

    /// The answer of `GET /_starling/metrics`.
    pub(crate) fn page(&self) -> Response {
        (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            self.handle.render(),
        )
            .into_response()
    }
}

/// A request in flight, counted until it is answered or given up.
pub(crate) struct InFlight(Gauge);

impl InFlight {
    /// One more.
    pub(crate) fn begin() -> Self {
        let gauge = gauge!(IN_FLIGHT);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Counts an answered request.
pub(crate) fn record(request: &Described, status: StatusCode, took: Duration) {
    let route = request.route().to_owned();
    counter!(REQUESTS, "route" => route.clone(), "method" => request.method, "status" => class(status)).increment(1);
    histogram!(DURATION, "route" => route, "method" => request.method).record(took);
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
