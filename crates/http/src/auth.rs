//! Who calls: access tokens. <https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens>

use std::net::IpAddr;

use axum::BoxError;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::Deserialize;

use crate::{ClientAddress, MatrixError};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anybody; a token is not looked at.
    None,
    /// Anybody; who sends a token must send a valid one.
    Optional,
    /// A user with a session, unless the account is locked.
    User,
    /// A user with a session, also when the account is locked.
    LockedUser,
    /// An administrator of the server.
    Admin,
}

/// What became of an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access<T> {
    /// It is valid.
    Granted(T),
    /// It is valid, but the account is locked.
    Locked(T),
    /// Nobody has it (any more).
    Unknown,
    /// It must be renewed; the session lives on.
    SoftLogout,
}

/// The state of a router that knows sessions.
pub trait Sessions: Clone + Send + Sync + 'static {
    /// What handlers learn of the caller.
    type Session: Clone + Send + Sync + 'static;

    /// Looks an access token up. `address` is where the request comes from, to be noted with the device.
    fn authenticate(
        &self,
        token: &str,
        address: Option<IpAddr>,
    ) -> impl Future<Output = Result<Access<Self::Session>, BoxError>> + Send;

    /// Whether it is the session of an administrator.
    fn is_admin(session: &Self::Session) -> bool;

    /// Whether tokens are also taken from the query string (`compat.access_token_in_query`).
    fn token_in_query(&self) -> bool;
}

/// The caller's session, on a route that is declared with authentication.
///
/// On a route with [`Auth::Optional`], ask for an `Option<Authenticated<_>>`.
#[derive(Debug, Clone)]
pub struct Authenticated<T>(pub T);

/// Lets a request through, with the session if the route asks for one.
pub(crate) async fn admit<S: Sessions>(
    auth: Auth,
    parts: &Parts,
    state: &S,
) -> Result<Option<S::Session>, MatrixError> {
    if auth == Auth::None {
        return Ok(None);
    }
    let Some(token) = token(parts, state.token_in_query()) else {
        return if auth == Auth::Optional {
            Ok(None)
        } else {
            Err(MatrixError::missing_token())
        };
    };
    let ClientAddress(address) = parts
        .extensions
        .get()
        .copied()
        .unwrap_or(ClientAddress(None));
    match state.authenticate(&token, address).await {
        Err(error) => Err(MatrixError::internal(error)),
        Ok(Access::Unknown) => Err(MatrixError::unknown_token(false)),
        Ok(Access::SoftLogout) => Err(MatrixError::unknown_token(true)),
        Ok(Access::Locked(_)) if auth != Auth::LockedUser => Err(MatrixError::user_locked()),
        Ok(Access::Granted(session)) if auth == Auth::Admin && !S::is_admin(&session) => {
            Err(MatrixError::forbidden("You are not a server admin"))
        }
        Ok(Access::Granted(session) | Access::Locked(session)) => Ok(Some(session)),
    }
}

#[derive(Deserialize)]
struct TokenQuery {
    access_token: Option<String>,
}

fn token(parts: &Parts, in_query: bool) -> Option<String> {
    let header = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let bearer = bearer.filter(|token| !token.is_empty()).map(str::to_owned);
    let query = || {
        parts
            .uri
            .query()
            .filter(|query| in_query && query.contains("access_token"))
    };
    let from_query = || {
        serde_html_form::from_str::<TokenQuery>(query()?)
            .ok()?
            .access_token
    };
    bearer.or_else(from_query).filter(|token| !token.is_empty())
}

impl<S: Send + Sync, T: Clone + Send + Sync + 'static> FromRequestParts<S> for Authenticated<T> {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MatrixError> {
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or_else(|| {
            MatrixError::internal(
                "the route is declared without authentication, and its handler wants it",
            )
        })
    }
}

impl<S: Send + Sync, T: Clone + Send + Sync + 'static> OptionalFromRequestParts<S>
    for Authenticated<T>
{
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, MatrixError> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
