//! Whom users ignore, by number: for counting what they have not read.
//! <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use starling_db::{Commits, Error, Tx, Value};

use crate::account_data::{GLOBAL, account_data_read};
use crate::numbers::{RoomNum, UserNum};
use crate::store::Store;

/// The type of account data that says so.
pub const IGNORED_USER_LIST: &str = "m.ignored_user_list";

starling_db::statements! {
    /// The numbers of some users.
    IGNORED_NUMS = "SELECT user_num FROM users WHERE user_id IN {texts ?1}";
}

/// Whom users ignore.
#[derive(Debug)]
pub(crate) struct IgnoredCache {
    lists: Cache<UserNum, Arc<[UserNum]>>,
    commits: Commits,
    /// The commit of the last change: what a reader that began before it has read may be stale.
    changed: AtomicU64,
}

impl IgnoredCache {
    pub(crate) fn new(users: usize, commits: Commits) -> Self {
        Self {
            lists: Cache::new(users),
            commits,
            changed: AtomicU64::new(0),
        }
    }

    fn changed(&self, user: UserNum) {
        self.changed.store(self.commits.count(), Ordering::SeqCst);
        self.lists.remove(&user);
    }

    fn insert_read(&self, tx: &Tx<'_>, user: UserNum, list: &Arc<[UserNum]>) {
        let is_current = || {
            tx.began()
                .is_some_and(|began| began >= self.changed.load(Ordering::SeqCst))
        };
        if !is_current() {
            return;
        }
        self.lists.insert(user, Arc::clone(list));
        // A hook between the check and the insertion: take it out again.
        if !is_current() {
            self.lists.remove(&user);
        }
    }
}

impl Store {
    /// Whom `user` ignores, of those of whom this server has ever heard.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn ignored(&self, tx: &mut Tx<'_>, user: UserNum) -> Result<Arc<[UserNum]>, Error> {
        if let Some(list) = self.ignored_cache().lists.get(&user) {
            return Ok(list);
        }
        let content = account_data_read(tx, user, GLOBAL, IGNORED_USER_LIST)?;
        let content: Option<serde_json::Value> =
            content.and_then(|content| serde_json::from_str(&content).ok());
        let users = content
            .as_ref()
            .and_then(|content| content.get("ignored_users")?.as_object());
        let ids: Vec<&str> = users
            .into_iter()
            .flatten()
            .map(|(id, _)| id.as_str())
            .collect();
        // U+0000 is in no user id, and PostgreSQL takes no text with one.
        let ids: Vec<&str> = ids.into_iter().filter(|id| !id.contains('\0')).collect();
        let list: Arc<[UserNum]> = if ids.is_empty() {
            Arc::from([])
        } else {
            let numbers = tx.query_all(&IGNORED_NUMS, &[Value::Texts(&ids)], |row| {
                Ok(UserNum(row.int(0)?))
            })?;
            numbers.into()
        };
        // Who isn't known here yet may be soon.
        if list.len() == ids.len() {
            self.ignored_cache().insert_read(tx, user, &list);
        }
        Ok(list)
    }

    /// After the commit that changed this account data, whom the user ignores is read again.
    pub fn account_data_changed_after_commit(
        &self,
        tx: &mut Tx<'_>,
        user: UserNum,
        (room, kind): (RoomNum, &str),
    ) {
        if room == GLOBAL && kind == IGNORED_USER_LIST {
            let store = self.clone();
            tx.after_commit(move || store.ignored_cache().changed(user));
        }
    }
}
