//! Who calls: access tokens. <https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens>

use std::net::IpAddr;

use axum::BoxError;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::Deserialize;

use crate::rate_limit::Caller;
use crate::{ClientAddress, Limited, MatrixError, RateLimiter, RouteInfo};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anybody; a token is not looked at.
    None,
    /// Anybody; who sends a token must send a valid one.
    Optional,
    /// A user with a session, unless the account is locked; no guest.
    User,
    /// A user or a guest with a session, unless the account is locked.
    Guest,
    /// A user or a guest with a session, also when the account is locked.
    LockedUser,
    /// An administrator of the server.
    Admin,
    /// Another server, which has signed the request.
    Server,
}

/// The state of a router, which knows whom its routes let in: users by [`admit_session`], other servers by
/// [`admit_server`](crate::admit_server).
pub trait Admits: Clone + Send + Sync + 'static {
    /// Lets a request through to the route's handler, with what that learns of the caller among the request's extensions.
    ///
    /// # Errors
    /// The answer to whoever isn't let in.
    fn admit(
        &self,
        route: &RouteInfo,
        request: Request,
    ) -> impl Future<Output = Result<Request, MatrixError>> + Send;
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

/// Knows the sessions of users.
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

    /// Whether it is the session of a guest.
    fn is_guest(session: &Self::Session) -> bool;

    /// Whether its user is suspended: <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>
    fn is_suspended(session: &Self::Session) -> bool;

    /// A number that is its user's only, for the limiter.
    fn user_number(session: &Self::Session) -> i64;

    /// Counts what callers do.
    fn limiter(&self) -> &RateLimiter;

    /// Whether tokens are also taken from the query string (`compat.access_token_in_query`).
    fn token_in_query(&self) -> bool;
}

/// The caller's session, on a route that is declared with authentication.
///
/// On a route with [`Auth::Optional`], ask for an `Option<Authenticated<_>>`.
#[derive(Debug, Clone)]
pub struct Authenticated<T>(pub T);

/// Lets a request through, with the session ([`Authenticated`]) if the route asks for one.
///
/// The limits of an address come first, so that nothing is looked up for whoever exceeds them; then the token; then the
/// limits of the user; then what the account may do.
///
/// # Errors
/// The answer to whoever isn't let in.
pub async fn admit_session<S: Sessions>(
    state: &S,
    route: &RouteInfo,
    request: Request,
) -> Result<Request, MatrixError> {
    if route.auth == Auth::Server {
        return Err(MatrixError::internal(
            "the route is for servers, and its API knows users only",
        ));
    }
    let (mut parts, body) = request.into_parts();
    if let Some(session) = session(route, &parts, state).await? {
        parts.extensions.insert(Authenticated(session));
    }
    Ok(Request::from_parts(parts, body))
}

async fn session<S: Sessions>(
    route: &RouteInfo,
    parts: &Parts,
    state: &S,
) -> Result<Option<S::Session>, MatrixError> {
    let address = address(parts);
    let token = if route.auth == Auth::None {
        None
    } else {
        token(parts, state.token_in_query())
    };
    let Some(token) = token else {
        if !matches!(route.auth, Auth::None | Auth::Optional) {
            return Err(MatrixError::missing_token());
        }
        if let Some(address) = address {
            let kind = route.limit.without_session();
            state.limiter().take(kind, Caller::Address(address))?;
        }
        return Ok(None);
    };
    let access = look_up(&token, address, state).await?;
    check(route, access, state).map(Some)
}

/// Looks a token up. Where too many came from an address that nobody has, look-ups count as requests without a session: whoever
/// shares the address with a stranger isn't shut out by a few bad tokens.
async fn look_up<S: Sessions>(
    token: &str,
    address: Option<IpAddr>,
    state: &S,
) -> Result<Access<S::Session>, MatrixError> {
    let caller = address.map(Caller::Address);
    if let Some(caller) = caller {
        let limiter = state.limiter();
        if limiter.check(Limited::UnknownTokens, caller).is_err() {
            limiter.take(Limited::Anonymous, caller)?;
        }
    }
    let access = state.authenticate(token, address).await;
    let access = access.map_err(MatrixError::internal)?;
    if let (Access::Unknown, Some(caller)) = (&access, caller) {
        state.limiter().take(Limited::UnknownTokens, caller)?;
    }
    Ok(access)
}

/// Whether a route lets in whom a token stands for.
fn check<S: Sessions>(
    route: &RouteInfo,
    access: Access<S::Session>,
    state: &S,
) -> Result<S::Session, MatrixError> {
    let (session, is_locked) = match access {
        Access::Granted(session) => (session, false),
        Access::Locked(session) => (session, true),
        Access::Unknown => return Err(MatrixError::unknown_token(false)),
        Access::SoftLogout => return Err(MatrixError::unknown_token(true)),
    };
    if !(route.limit.spares_admins() && S::is_admin(&session)) {
        let caller = Caller::User(S::user_number(&session));
        state.limiter().take(route.limit, caller)?;
    }
    if is_locked && route.auth != Auth::LockedUser {
        return Err(MatrixError::user_locked());
    }
    if route.auth == Auth::Admin && !S::is_admin(&session) {
        return Err(MatrixError::forbidden("You are not a server admin"));
    }
    if route.auth == Auth::User && S::is_guest(&session) {
        return Err(MatrixError::guest_access_forbidden(
            "Guests cannot do this; register an account",
        ));
    }
    if route.refuses_suspended && S::is_suspended(&session) {
        return Err(MatrixError::user_suspended());
    }
    Ok(session)
}

/// Where a request comes from.
pub(crate) fn address(parts: &Parts) -> Option<IpAddr> {
    let ClientAddress(address) = parts.extensions.get().copied()?;
    address
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
