//! Who calls: the session that an access token stands for.

use std::net::IpAddr;

use starling_accounts::{Authentication, Session};
use starling_http::{Access, BoxError, MatrixError, RateLimiter, Sessions};

use crate::State;

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
