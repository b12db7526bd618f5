//! Who calls: the session that an access token stands for.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::Request;
use starling_accounts::{Authentication, Session};
use starling_ephemeral::Client;
use starling_http::{
    Access, Admits, BoxError, MatrixError, RateLimiter, RouteInfo, Sessions, admit_session,
};

use crate::State;

/// When to come again after [`busy`]; by then some seconds of work are done.
const BUSY_WAIT: Duration = Duration::from_secs(3);

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
        self.config.compat.access_token_in_query
    }
}

/// Too many passwords are to be hashed: those who come later wait outside, and sending goes on.
pub(crate) fn busy() -> MatrixError {
    MatrixError::limit_exceeded(BUSY_WAIT)
}

/// The device with this session, as what it is doing is told to others.
pub(crate) fn client(session: &Session) -> Client {
    Client {
        user: session.user,
        user_id: session.user_id.clone(),
        device: session.device,
    }
}

/// Refuses a path that names another user than the caller.
pub(crate) fn check_own(session: &Session, user_id: &str) -> Result<(), MatrixError> {
    if session.user_id == user_id {
        Ok(())
    } else {
        Err(MatrixError::forbidden(
            "You cannot do this for another user",
        ))
    }
}
