//! Users who want to be forgotten: whoever wasn't in a room yet is shown redacted copies of what they said there.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use starling_db::{Error, Tx};

use crate::numbers::UserNum;

starling_db::statements! {
    /// All erased users.
    ERASED_LIST = "SELECT user_num FROM accounts WHERE erased_at IS NOT NULL";
}

/// All erased users, kept in memory once they were asked for.
#[derive(Debug, Default)]
pub struct Erased {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    users: Option<Arc<HashSet<UserNum>>>,
    /// Counts changes, so that what was read before one isn't kept after it.
    changes: u64,
}

impl Erased {
    /// All erased users.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn users(&self, tx: &mut Tx<'_>) -> Result<Arc<HashSet<UserNum>>, Error> {
        let changes = {
            let known = self.known.lock();
            if let Some(users) = &known.users {
                return Ok(Arc::clone(users));
            }
            known.changes
        };
        let users = tx.query_all(&ERASED_LIST, &[], |row| Ok(UserNum(row.int(0)?)))?;
        let users: Arc<HashSet<UserNum>> = Arc::new(users.into_iter().collect());
        let mut known = self.known.lock();
        if known.changes == changes {
            known.users = Some(Arc::clone(&users));
        }
        Ok(users)
    }

    /// To be called after the commit that erased somebody.
    pub fn changed(&self) {
        let mut known = self.known.lock();
        known.changes += 1;
        known.users = None;
    }
}
