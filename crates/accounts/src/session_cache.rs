//! Sessions in memory, by the hash of their token: exactly those of committed rows.

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use starling_db::Dialect;
use starling_store::devices::TokenHash;

use crate::sessions::Session;

/// The most sessions kept; each takes a few hundred bytes.
const SESSIONS: usize = 50_000;

/// Sessions by token. A session that has ended is never found in it.
#[derive(Debug)]
pub(crate) struct SessionCache {
    /// `None` on PostgreSQL, where another node may end a session at any time: there the row is read each time.
    sessions: Option<Cache<TokenHash, Session>>,
    /// How many times sessions have ended, so that one that was read before an end isn't put in after it.
    ends: Mutex<u64>,
}

/// Taken before a session is read from the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

impl SessionCache {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let sessions = match dialect {
            Dialect::Sqlite => Some(Cache::new(SESSIONS)),
            Dialect::Postgres => None,
        };
        Self {
            sessions,
            ends: Mutex::new(0),
        }
    }

    pub(crate) fn get(&self, token: &TokenHash) -> Option<Session> {
        self.sessions.as_ref()?.get(token)
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(*self.ends.lock())
    }

    /// Keeps a session that was read after `ticket` was taken, unless any session has ended since.
    pub(crate) fn fill(&self, ticket: Ticket, token: TokenHash, session: Session) {
        let Some(sessions) = &self.sessions else {
            return;
        };
        let ends = self.ends.lock();
        if *ends == ticket.0 {
            sessions.insert(token, session);
        }
    }

    /// After the commit that ended the sessions of `tokens`.
    pub(crate) fn forget(&self, tokens: &[TokenHash]) {
        let Some(sessions) = &self.sessions else {
            return;
        };
        let mut ends = self.ends.lock();
        *ends += 1;
        for token in tokens {
            sessions.remove(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma_common::user_id;
    use starling_store::accounts::AccountKind;
    use starling_store::devices::TokenOwner;
    use starling_store::{DeviceNum, UserNum};

    use super::*;

    const TOKEN: TokenHash = [7; 32];

    fn session() -> Session {
        let owner = TokenOwner {
            user: UserNum(1),
            user_id: user_id!("@alice:example.org").to_owned(),
            device: DeviceNum(1),
            device_id: Arc::from("D"),
            kind: AccountKind::User,
            is_admin: false,
            last_seen_at: None,
            locked_at: None,
            suspended_at: None,
            expires_at: None,
            replaces: None,
        };
        Session::new(TOKEN, owner)
    }

    #[test]
    fn a_session_is_kept_until_it_ends() {
        let cache = SessionCache::new(Dialect::Sqlite);
        cache.fill(cache.ticket(), TOKEN, session());
        assert!(cache.get(&TOKEN).is_some());
        cache.forget(&[[8; 32]]);
        assert!(cache.get(&TOKEN).is_some());
        cache.forget(&[TOKEN]);
        assert!(cache.get(&TOKEN).is_none());
    }

    #[test]
    fn what_was_read_before_an_end_is_not_kept_after_it() {
        let cache = SessionCache::new(Dialect::Sqlite);
        let ticket = cache.ticket();
        cache.forget(&[TOKEN]);
        cache.fill(ticket, TOKEN, session());
        assert!(cache.get(&TOKEN).is_none());
    }
}
