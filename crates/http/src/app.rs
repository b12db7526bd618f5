//! What every request of a listener goes through, and the addresses for operators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use starling_config::{Listener, Network, Serves};
use starling_runtime::{Chance, Clock};
use tracing::Instrument;

use crate::address::{Peer, client_address, is_unknown_proxy};
use crate::log::Described;
use crate::metrics::{InFlight, record};
use crate::{Caller, ClientAddress, Limited, MatrixError, Metrics, RateLimiter, cors, panics};

/// The length of a request's id.
const ID_LENGTH: usize = 16;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Says whether the server can serve, or why it cannot.
pub type Health = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the requests of all listeners share.
#[derive(Clone)]
pub struct Edge {
    /// Measures how long requests take.
    pub clock: Clock,
    /// Makes the requests' ids.
    pub chance: Chance,
    /// Asked by `GET /_starling/health`.
    pub health: Health,
    /// Counts who asks for that: it may mean asking the database.
    pub limiter: RateLimiter,
    /// Shown by `GET /_starling/metrics` on listeners that serve it.
    pub metrics: Option<Metrics>,
}

#[derive(Clone)]
struct Around {
    clock: Clock,
    chance: Chance,
    trusted_proxies: Arc<[Network]>,
    /// Whether an unknown proxy has been named in the log.
    has_warned: Arc<AtomicBool>,
}

impl Edge {
    /// The whole service of a listener: these routes of APIs, those for operators, and around them log, metrics, CORS and the
    /// answers for what is unknown.
    pub fn app(&self, listener: &Listener, api: Router) -> Router {
        let (health, limiter) = (self.health.clone(), self.limiter.clone());
        let healthy = move |address| healthy(health, limiter, address);
        let mut router = api.route("/_starling/health", routing::get(healthy));
        if let Some(metrics) = self
            .metrics
            .clone()
            .filter(|_| listener.serves.contains(&Serves::Metrics))
        {
            router = router.route(
                "/_starling/metrics",
                routing::get(async move || metrics.page()),
            );
        }
        let around = Around {
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            trusted_proxies: listener.trusted_proxies.clone().into(),
            has_warned: Arc::default(),
        };
        router
            .method_not_allowed_fallback(async || MatrixError::unrecognized_method())
            .fallback(async || MatrixError::unrecognized())
            .layer(from_fn_with_state(around, go_around))
    }
}

async fn healthy(
    health: Health,
    limiter: RateLimiter,
    ClientAddress(address): ClientAddress,
) -> Response {
    let caller = address.map(Caller::Address);
    if let Some(Err(refused)) = caller.map(|caller| limiter.take(Limited::Anonymous, caller)) {
        return refused.into_response();
    }
    match health().await {
        Ok(()) => (StatusCode::OK, "OK\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn go_around(State(around): State<Around>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get().map(|Peer(peer)| peer.ip());
    let address = peer.map(|peer| client_address(peer, &around.trusted_proxies, &parts.headers));
    parts.extensions.insert(ClientAddress(address));
    if let Some(peer) = peer
        && is_unknown_proxy(peer, &around.trusted_proxies, &parts.headers)
        && !around.has_warned.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(
            %peer,
            "a proxy nearby names its callers, and is not among trusted_proxies: they all count as one for rate limits"
        );
    }
    let described = Described::new(&parts);
    let id = around.chance.token(ID_LENGTH);
    let span = described.span(&id, address);
    let is_preflight = parts.method == Method::OPTIONS;
    let request = Request::from_parts(parts, body);
    let answer = async move {
        let in_flight = InFlight::begin();
        let start = around.clock.monotonic();
        let mut response = if is_preflight {
            StatusCode::NO_CONTENT.into_response()
        } else {
            panics::catch(next.run(request)).await
        };
        cors::allow_any_origin(response.headers_mut());
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let took = around.clock.monotonic().duration_since(start);
        described.log(&response, took);
        record(&described, response.status(), took);
        drop(in_flight);
        response
    };
    answer.instrument(span).await
}
