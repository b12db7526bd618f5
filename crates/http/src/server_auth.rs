//! Which server calls: signed requests. <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use axum::BoxError;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use bytes::Bytes;
use http::Method;
use http::header::AUTHORIZATION;
use http::request::Parts;
use ruma_common::{OwnedServerName, ServerName};
use starling_events::JsonError;
use starling_events::VerifyingKey;
use starling_events::canonical_json::canonicalize_request;
use starling_events::request_auth::{RequestAuth, RequestAuthError};

use crate::auth::address;
use crate::log::note_origin;
use crate::rate_limit::Caller;
use crate::{Auth, Limited, MatrixError, RateLimiter, RouteInfo, body};

/// A request may be signed with so many keys, a header each.
const MAX_SIGNATURES: usize = 4;

/// Knows other servers.
pub trait Servers: Clone + Send + Sync + 'static {
    /// The name of this server.
    fn server_name(&self) -> &ServerName;

    /// The key of this id that `server` signs with now; `None` when it has none, or nobody knows.
    fn key(
        &self,
        server: &ServerName,
        key_id: &str,
    ) -> impl Future<Output = Result<Option<VerifyingKey>, BoxError>> + Send;

    /// Told of each server that has proven who it is: it is up.
    fn heard_from(&self, server: &ServerName);

    /// Counts what callers do.
    fn limiter(&self) -> &RateLimiter;
}

/// The server that has signed the request, on a route that is declared with [`Auth::Server`].
#[derive(Debug, Clone)]
pub struct Origin(pub OwnedServerName);

/// Lets a request through: of a server that has signed it, with that server's name ([`Origin`]), or of anybody where the route
/// says so. The handler reads the body as it was signed.
///
/// Where too many requests came from an address whose signatures didn't hold, further ones count as those of strangers, before
/// their bodies are read and keys are looked for; then the signature; then the limits of the server.
///
/// # Errors
/// The answer to whoever isn't let in: 401 `M_UNAUTHORIZED` without a signature that holds.
pub async fn admit_server<S: Servers>(
    state: &S,
    route: &RouteInfo,
    request: Request,
) -> Result<Request, MatrixError> {
    let (mut parts, body) = request.into_parts();
    let caller = address(&parts).map(Caller::Address);
    let limiter = state.limiter();
    match (route.auth, caller) {
        (Auth::Server, _) => {}
        (Auth::None, None) => return Ok(Request::from_parts(parts, body)),
        (Auth::None, Some(caller)) => {
            limiter.take(route.limit.without_session(), caller)?;
            return Ok(Request::from_parts(parts, body));
        }
        _ => {
            return Err(MatrixError::internal(
                "the route is for users, and its API knows servers only",
            ));
        }
    }
    let claims = claims(&parts, state.server_name())?;
    if let Some(claim) = claims.first() {
        note_origin(&mut parts, &claim.origin).await;
    }
    if let Some(caller) = caller
        && limiter.check(Limited::UnknownTokens, caller).is_err()
    {
        limiter.take(Limited::Anonymous, caller)?;
    }
    let content = if has_content(&parts.method) {
        body::read(&parts, body).await?
    } else {
        Bytes::new()
    };
    let (origin, content) = match verify(state, &parts, claims, content).await? {
        Verified::By(origin, content) => (origin, content),
        Verified::Not(why) => {
            if let Some(caller) = caller {
                limiter.take(Limited::UnknownTokens, caller)?;
            }
            return Err(MatrixError::unauthorized(why));
        }
    };
    state.heard_from(&origin);
    limiter.take(route.limit, Caller::Server(origin.as_str()))?;
    parts.extensions.insert(Origin(origin));
    Ok(Request::from_parts(parts, Body::from(content)))
}

/// Whether a body belongs to what is signed; any other isn't looked at.
fn has_content(method: &Method) -> bool {
    *method == Method::POST || *method == Method::PUT
}

/// What the headers say: by whom the request is signed. All of them name the same server.
fn claims(parts: &Parts, own: &ServerName) -> Result<Vec<RequestAuth>, MatrixError> {
    let mut claims: Vec<RequestAuth> = Vec::new();
    for header in parts.headers.get_all(AUTHORIZATION) {
        let Ok(header) = header.to_str() else {
            return Err(malformed(RequestAuthError::Syntax));
        };
        match RequestAuth::parse(header) {
            Ok(claim) => claims.push(claim),
            Err(RequestAuthError::Scheme) => {}
            Err(error) => return Err(malformed(error)),
        }
        if claims.len() > MAX_SIGNATURES {
            return Err(MatrixError::unauthorized("Too many Authorization headers"));
        }
    }
    let Some(origin) = claims.first().map(|claim| claim.origin.clone()) else {
        return Err(MatrixError::unauthorized(
            "The request is not signed: it has no Authorization header of the scheme X-Matrix",
        ));
    };
    if origin == own {
        return Err(MatrixError::unauthorized(
            "This server does not send requests to itself",
        ));
    }
    for claim in &claims {
        if claim.origin != origin {
            return Err(MatrixError::unauthorized(
                "The Authorization headers name several servers",
            ));
        }
        let destination = claim.destination.as_deref();
        if destination.is_some_and(|destination| destination != own) {
            return Err(MatrixError::unauthorized(
                "The request is signed for another server",
            ));
        }
    }
    Ok(claims)
}

fn malformed(error: RequestAuthError) -> MatrixError {
    MatrixError::unauthorized(error.to_string())
}

/// What is known of a request's signatures.
enum Verified {
    /// One is by this server, which signed this body.
    By(OwnedServerName, Bytes),
    /// None holds, and why.
    Not(String),
}

/// Looks for a signature that holds.
async fn verify<S: Servers>(
    state: &S,
    parts: &Parts,
    claims: Vec<RequestAuth>,
    content: Bytes,
) -> Result<Verified, MatrixError> {
    let uri = parts.uri.path_and_query();
    let uri = uri.map_or("/", |uri| uri.as_str());
    let method = parts.method.as_str();
    let own = state.server_name();
    let mut canonical = None;
    let (mut without_key, mut has_key) = (None, false);
    for claim in claims {
        let key = state.key(&claim.origin, &claim.key_id).await;
        let Some(key) = key.map_err(MatrixError::internal)? else {
            without_key = Some(claim);
            continue;
        };
        has_key = true;
        if content.is_empty() {
            if claim.verifies((method, uri, None), own, &key) {
                return Ok(Verified::By(claim.origin, content));
            }
            continue;
        }
        // Most servers send what they have signed, byte for byte: then it needn't be parsed.
        if claim.verifies((method, uri, Some(&content)), own, &key) {
            return Ok(Verified::By(claim.origin, content));
        }
        let canonical = match &canonical {
            Some(canonical) => canonical,
            None => canonical.insert(canonicalize(&content)?),
        };
        if claim.verifies((method, uri, Some(canonical)), own, &key) {
            return Ok(Verified::By(claim.origin, canonical.clone()));
        }
    }
    Ok(Verified::Not(match without_key {
        // The commonest fault of a new server, and its administrator reads this.
        Some(RequestAuth { origin, key_id, .. }) if !has_key => format!(
            "The key {key_id} of {origin} could not be had, or is not current: {origin} must answer /_matrix/key/v2/server, \
             under that name and with a valid certificate"
        ),
        _ => "The request has no signature by a current key of the server that it names as its origin".to_owned(),
    }))
}

/// The form in which JSON is signed.
fn canonicalize(content: &[u8]) -> Result<Bytes, MatrixError> {
    match canonicalize_request(content) {
        Ok(canonical) => Ok(canonical.into()),
        Err(error @ (JsonError::NotUtf8 | JsonError::Syntax(_))) => {
            Err(MatrixError::not_json(format!("The body is {error}")))
        }
        Err(error) => Err(MatrixError::bad_json(format!("The body is {error}"))),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MatrixError> {
        let origin = parts.extensions.get::<Self>().cloned();
        origin.ok_or_else(|| {
            MatrixError::internal(
                "the route is not declared with Auth::Server, and its handler wants the server",
            )
        })
    }
}
