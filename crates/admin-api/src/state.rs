//! What handlers work with.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use starling_accounts::{Accounts, Authentication, Session, SharedSecret};
use starling_config::Config;
use starling_http::{
    Access, Admits, BoxError, MatrixError, RateLimiter, RouteInfo, Sessions, admit_session,
};
use starling_runtime::{Chance, Clock};

/// The state of the API's router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) accounts: Accounts,
    /// `None` when tools may not register accounts.
    pub(crate) shared_secret: Option<Arc<SharedSecret>>,
    limiter: RateLimiter,
    token_in_query: bool,
}

impl State {
    /// The state of a server with this configuration.
    #[must_use]
    pub fn new(
        config: &Config,
        accounts: Accounts,
        limiter: RateLimiter,
        clock: Clock,
        chance: Chance,
    ) -> Self {
        let secret = config.registration.shared_secret.expose();
        Self {
            accounts,
            shared_secret: SharedSecret::new(secret, clock, chance).map(Arc::new),
            limiter,
            token_in_query: config.compat.access_token_in_query,
        }
    }
}

impl Admits for State {
    async fn admit(&self, route: &RouteInfo, request: Request) -> Result<Request, MatrixError> {
        admit_session(self, route, request).await
    }
}

impl Sessions for State {
    type Session = Session;

    async fn authenticate(
        &self,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<Access<Session>, BoxError> {
        Ok(match self.accounts.authenticate(token).await? {
            Authentication::Granted(session) => {
                self.accounts.seen(&session, address);
                Access::Granted(session)
            }
            Authentication::Locked(session) => Access::Locked(session),
            Authentication::Expired => Access::SoftLogout,
            Authentication::Unknown => Access::Unknown,
        })
    }

    fn is_admin(session: &Session) -> bool {
        session.is_admin
    }

    fn is_guest(session: &Session) -> bool {
        session.is_guest
    }

    fn is_suspended(session: &Session) -> bool {
        session.is_suspended
    }

    fn user_number(session: &Session) -> i64 {
        session.user.0
    }

    fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }

    fn token_in_query(&self) -> bool {
        self.token_in_query
    }
}
