//! Users' push rules: a current value for each user who has changed theirs, and what is kept in memory of them.
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules>

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use starling_db::{Commits, Error, Row, Tx, Value};
use starling_pushrules::Ruleset;

use crate::last_changes::LastChanges;
use crate::numbers::UserNum;
use crate::store::Store;

starling_db::statements! {
    /// The rules of some users, of those who have changed them.
    PUSH_RULES_READ = "SELECT user_num, rules FROM push_rules WHERE user_num IN {ints ?1}";
    /// The rules of a user, if they were changed in a stretch of the log.
    PUSH_RULES_CHANGED = "SELECT user_num, rules FROM push_rules WHERE user_num = ?1 AND position > ?2 AND position <= ?3";
    /// Other rules for a user.
    PUSH_RULES_SET = "INSERT INTO push_rules (user_num, rules, is_special, position) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (user_num) DO UPDATE SET rules = excluded.rules, is_special = excluded.is_special,
            position = excluded.position";
}

/// What a ruleset costs beside what the user has made of it.
const OVERHEAD: u64 = 300;

/// Rulesets in memory take about so many times what is stored of them.
const PARSED: u64 = 6;

/// Rulesets by user.
#[derive(Debug)]
pub struct RulesCache {
    rulesets: Cache<UserNum, (Arc<Ruleset>, u64), ByBytes>,
    /// What everybody has who has changed nothing.
    defaults: Arc<Ruleset>,
    changes: LastChanges,
    /// Counts changes of rules that rooms watch for (see [`crate::unread`]), from within the transactions that change
    /// them: what was read of a room before one is read again.
    version: AtomicU64,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<UserNum, (Arc<Ruleset>, u64)> for ByBytes {
    fn weight(&self, _user: &UserNum, (_, bytes): &(Arc<Ruleset>, u64)) -> u64 {
        bytes * PARSED + OVERHEAD
    }
}

impl RulesCache {
    pub(crate) fn new(bytes: u64, commits: Commits) -> Self {
        let estimate = usize::try_from(bytes / 1000).unwrap_or(usize::MAX).max(16);
        Self {
            rulesets: Cache::with_weighter(estimate, bytes, ByBytes),
            defaults: Arc::new(Ruleset::default()),
            changes: LastChanges::new(1, commits),
            version: AtomicU64::new(0),
        }
    }

    /// Of which change of anybody's rules it is.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Forgets a user's: from the hook of the commit that changed them.
    fn changed(&self, user: UserNum) {
        self.changes.note(0);
        self.rulesets.remove(&user);
    }

    /// Puts in what `tx` has read, unless it may have been changed since.
    fn insert_read(&self, tx: &Tx<'_>, user: UserNum, ruleset: &Arc<Ruleset>, bytes: u64) {
        let insert = || self.rulesets.insert(user, (Arc::clone(ruleset), bytes));
        let remove = || drop(self.rulesets.remove(&user));
        self.changes.put_read(tx, 0, insert, remove);
    }
}

fn read(row: &dyn Row) -> Result<(UserNum, Ruleset, u64), Error> {
    let (user, stored) = (UserNum(row.int(0)?), row.utf8(1)?);
    let ruleset = Ruleset::from_stored(stored)
        .ok_or_else(|| Error::Damaged(format!("the push rules of user {}", user.0)))?;
    Ok((user, ruleset, stored.len() as u64))
}

/// The rules of a user, as they are in the database: for who is about to change them.
///
/// # Errors
/// When the database cannot be read.
pub fn push_rules_read(tx: &mut Tx<'_>, user: UserNum) -> Result<Ruleset, Error> {
    let found = tx.query_one(&PUSH_RULES_READ, &[Value::Ints(&[user.0])], read)?;
    Ok(found.map_or_else(Ruleset::default, |(_, ruleset, _)| ruleset))
}

/// The rules of a user, if they were changed after `since` and up to `upto`, and not again since.
///
/// # Errors
/// When the database cannot be read.
pub fn push_rules_changed(
    tx: &mut Tx<'_>,
    user: UserNum,
    since: i64,
    upto: i64,
) -> Result<Option<Ruleset>, Error> {
    let params = [user.into(), since.into(), upto.into()];
    let found = tx.query_one(&PUSH_RULES_CHANGED, &params, read)?;
    Ok(found.map(|(_, ruleset, _)| ruleset))
}

impl Store {
    /// Gives `user`, called `user_id`, other rules than those `before`, at `position`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn push_rules_set(
        &self,
        tx: &mut Tx<'_>,
        (user, user_id): (UserNum, &str),
        (before, ruleset): (&Ruleset, &Ruleset),
        position: i64,
    ) -> Result<(), Error> {
        let is_special = !ruleset.interest(None, user_id).is_empty();
        if is_special || !before.interest(None, user_id).is_empty() {
            // Now and not after the commit: events that are appended in the same one must know it.
            self.rulesets().version.fetch_add(1, Ordering::SeqCst);
        }
        let stored = ruleset.to_stored();
        let params = [
            user.into(),
            stored.as_bytes().into(),
            is_special.into(),
            position.into(),
        ];
        tx.execute_one(&PUSH_RULES_SET, &params)?;
        let store = self.clone();
        tx.after_commit(move || store.rulesets().changed(user));
        Ok(())
    }

    /// The rules of a user, from memory where they are at hand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn push_rules(&self, tx: &mut Tx<'_>, user: UserNum) -> Result<Arc<Ruleset>, Error> {
        let found = self.push_rules_of(tx, &[user])?.remove(&user);
        Ok(found.unwrap_or_else(|| Arc::clone(&self.rulesets().defaults)))
    }

    /// The rules of some users, with one query for all that aren't at hand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn push_rules_of(
        &self,
        tx: &mut Tx<'_>,
        users: &[UserNum],
    ) -> Result<HashMap<UserNum, Arc<Ruleset>>, Error> {
        let cache = self.rulesets();
        let mut found = HashMap::with_capacity(users.len());
        let mut missing = Vec::new();
        for user in users {
            match cache.rulesets.get(user) {
                Some((ruleset, _)) => drop(found.insert(*user, ruleset)),
                None => missing.push(user.0),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let stored = tx.query_all(&PUSH_RULES_READ, &[Value::Ints(&missing)], read)?;
        let mut stored: HashMap<UserNum, (Arc<Ruleset>, u64)> = stored
            .into_iter()
            .map(|(user, ruleset, bytes)| (user, (Arc::new(ruleset), bytes)))
            .collect();
        for user in missing.into_iter().map(UserNum) {
            let (ruleset, bytes) = stored
                .remove(&user)
                .unwrap_or_else(|| (Arc::clone(&cache.defaults), 0));
            cache.insert_read(tx, user, &ruleset, bytes);
            found.insert(user, ruleset);
        }
        Ok(found)
    }
}
