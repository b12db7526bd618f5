//! Users who want to be forgotten: whoever wasn't in a room yet is shown redacted copies of what they said there.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use starling_db::{Commits, Error, Tx};

use crate::numbers::UserNum;

starling_db::statements! {
    /// All erased users.
    ERASED_LIST = "SELECT user_num FROM accounts WHERE erased_at IS NOT NULL";
}

/// All erased users, kept in memory once they were asked for.
#[derive(Debug)]
pub struct Erased {
    known: Mutex<Known>,
    commits: Commits,
}

#[derive(Debug, Default)]
struct Known {
    users: Option<Arc<HashSet<UserNum>>>,
    /// The commit of the last change: what a reader that began before it has read may be stale.
    changed: u64,
}

impl Erased {
    pub(crate) fn new(commits: Commits) -> Self {
        Self {
            known: Mutex::default(),
            commits,
        }
    }

    /// All erased users.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn users(&self, tx: &mut Tx<'_>) -> Result<Arc<HashSet<UserNum>>, Error> {
        if let Some(users) = &self.known.lock().users {
            return Ok(Arc::clone(users));
        }
        let users = tx.query_all(&ERASED_LIST, &[], |row| Ok(UserNum(row.int(0)?)))?;
        let users: Arc<HashSet<UserNum>> = Arc::new(users.into_iter().collect());
        let mut known = self.known.lock();
        if tx.began().is_some_and(|began| began >= known.changed) {
            known.users = Some(Arc::clone(&users));
        }
        Ok(users)
    }

    /// To be called from a hook of the commit that erased somebody.
    pub fn changed(&self) {
        let mut known = self.known.lock();
        known.changed = self.commits.count();
        known.users = None;
    }
}
