//! Users' push rules: a current value for each user who has changed theirs, and what is kept in memory of them.
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules>

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use starling_db::{Commits, Error, Row, Tx, Value};
use starling_pushrules::{Interest, Ruleset};

use crate::last_changes::{LastChanges, STRIPES};
use crate::numbers::{RoomNum, UserNum};
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
    /// The rooms in which a user is, whose watches look for what the user's rules name.
    PUSH_RULES_ROOMS = "SELECT room_num FROM memberships WHERE user_num = ?1 AND membership = 2";
}

/// What a ruleset costs beside what the user has made of it.
const OVERHEAD: u64 = 300;

/// Rulesets in memory, with what they look for, take about so many times what is stored of them.
const PARSED: u64 = 7;

/// A user's rules, and what was found out about them.
#[derive(Debug, Default)]
pub(crate) struct UserRules {
    pub(crate) ruleset: Arc<Ruleset>,
    interest: OnceLock<Arc<Interest>>,
    /// As stored.
    bytes: u64,
}

impl UserRules {
    /// Which events must be evaluated one by one for the user, called `user_id`: worked out once, since it takes a look at
    /// every rule for every shape.
    pub(crate) fn interest(&self, user_id: &str) -> &Arc<Interest> {
        self.interest
            .get_or_init(|| Arc::new(self.ruleset.interest(user_id)))
    }
}

/// Rulesets by user.
#[derive(Debug)]
pub struct RulesCache {
    rulesets: Cache<UserNum, Arc<UserRules>, ByBytes>,
    /// What everybody has who has changed nothing.
    defaults: Arc<UserRules>,
    changes: LastChanges,
    /// Whose rules a transaction has changed that isn't committed: what is in memory is as before, and others of the same
    /// commit must see the change. Who was in a transaction that failed stays until their next change.
    changing: Mutex<HashSet<UserNum>>,
    /// Counts changes of what rooms watch for (see [`crate::unread`]), by stripes of rooms, from within the transactions
    /// that change it: what was read of a room before one is read again.
    versions: Vec<AtomicU64>,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<UserNum, Arc<UserRules>> for ByBytes {
    fn weight(&self, _user: &UserNum, rules: &Arc<UserRules>) -> u64 {
        rules.bytes * PARSED + OVERHEAD
    }
}

impl RulesCache {
    pub(crate) fn new(bytes: u64, commits: Commits) -> Self {
        let estimate = usize::try_from(bytes / 1000).unwrap_or(usize::MAX).max(16);
        Self {
            rulesets: Cache::with_weighter(estimate, bytes, ByBytes),
            defaults: Arc::default(),
            changes: LastChanges::new(1, commits),
            changing: Mutex::default(),
            versions: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Of which change of what is looked for in a room it is.
    pub(crate) fn version(&self, room: RoomNum) -> u64 {
        let version = self.stripe(room);
        version.map_or(0, |version| version.load(Ordering::SeqCst))
    }

    /// Something else is looked for in these rooms.
    fn raise_versions(&self, rooms: &[RoomNum]) {
        for version in rooms.iter().filter_map(|room| self.stripe(*room)) {
            version.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn stripe(&self, room: RoomNum) -> Option<&AtomicU64> {
        let room = usize::try_from(room.0).unwrap_or(0);
        self.versions.get(room % STRIPES)
    }

    /// What is at hand of a user's, if it is as `tx` would read it.
    fn get(&self, tx: &Tx<'_>, user: UserNum) -> Option<Arc<UserRules>> {
        if !tx.is_read_only() && self.changing.lock().contains(&user) {
            return None;
        }
        self.rulesets.get(&user)
    }

    /// Forgets a user's: from the hook of the commit that changed them.
    fn changed(&self, user: UserNum) {
        self.changes.note(0);
        self.rulesets.remove(&user);
        self.changing.lock().remove(&user);
    }

    /// Puts in what `tx` has read, unless it may have been changed since.
    fn insert_read(&self, tx: &Tx<'_>, user: UserNum, rules: &Arc<UserRules>) {
        let insert = || self.rulesets.insert(user, Arc::clone(rules));
        let remove = || drop(self.rulesets.remove(&user));
        self.changes.put_read(tx, 0, insert, remove);
    }
}

fn read(row: &dyn Row) -> Result<(UserNum, UserRules), Error> {
    let (user, stored) = (UserNum(row.int(0)?), row.utf8(1)?);
    let ruleset = Ruleset::from_stored(stored)
        .ok_or_else(|| Error::Damaged(format!("the push rules of user {}", user.0)))?;
    let rules = UserRules {
        ruleset: Arc::new(ruleset),
        interest: OnceLock::new(),
        bytes: stored.len() as u64,
    };
    Ok((user, rules))
}

/// The rules of a user, as they are in the database: for who is about to change them.
///
/// # Errors
/// When the database cannot be read.
pub fn push_rules_read(tx: &mut Tx<'_>, user: UserNum) -> Result<Ruleset, Error> {
    let found = tx.query_one(&PUSH_RULES_READ, &[Value::Ints(&[user.0])], read)?;
    Ok(found.map_or_else(Ruleset::default, |(_, rules)| {
        Arc::unwrap_or_clone(rules.ruleset)
    }))
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
) -> Result<Option<Arc<Ruleset>>, Error> {
    let params = [user.into(), since.into(), upto.into()];
    let found = tx.query_one(&PUSH_RULES_CHANGED, &params, read)?;
    Ok(found.map(|(_, rules)| rules.ruleset))
}

impl Store {
    /// Gives `user`, called `user_id`, other rules, at `position`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn push_rules_set(
        &self,
        tx: &mut Tx<'_>,
        (user, user_id): (UserNum, &str),
        ruleset: &Ruleset,
        position: i64,
    ) -> Result<(), Error> {
        let (before, after) = (self.user_rules(tx, user)?, ruleset.interest(user_id));
        let stored = ruleset.to_stored();
        let params = [
            user.into(),
            stored.as_bytes().into(),
            (!after.is_empty()).into(),
            position.into(),
        ];
        tx.execute_one(&PUSH_RULES_SET, &params)?;
        // Now and not after the commit: events that are appended in the same one must know it.
        self.rulesets().changing.lock().insert(user);
        if **before.interest(user_id) != after {
            let rooms = tx.query_all(&PUSH_RULES_ROOMS, &[user.into()], |row| {
                Ok(RoomNum(row.int(0)?))
            })?;
            self.rulesets().raise_versions(&rooms);
        }
        let store = self.clone();
        tx.after_commit(move || store.rulesets().changed(user));
        Ok(())
    }

    /// The rules of a user, from memory where they are at hand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn push_rules(&self, tx: &mut Tx<'_>, user: UserNum) -> Result<Arc<Ruleset>, Error> {
        Ok(Arc::clone(&self.user_rules(tx, user)?.ruleset))
    }

    fn user_rules(&self, tx: &mut Tx<'_>, user: UserNum) -> Result<Arc<UserRules>, Error> {
        let found = self.push_rules_of(tx, &[user])?.remove(&user);
        Ok(found.unwrap_or_else(|| Arc::clone(&self.rulesets().defaults)))
    }

    /// The rules of some users, with one query for all that aren't at hand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn push_rules_of(
        &self,
        tx: &mut Tx<'_>,
        users: &[UserNum],
    ) -> Result<HashMap<UserNum, Arc<UserRules>>, Error> {
        let cache = self.rulesets();
        let mut found = HashMap::with_capacity(users.len());
        let mut missing = Vec::new();
        for user in users {
            match cache.get(tx, *user) {
                Some(rules) => drop(found.insert(*user, rules)),
                None => missing.push(user.0),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let stored = tx.query_all(&PUSH_RULES_READ, &[Value::Ints(&missing)], read)?;
        let mut stored: HashMap<UserNum, UserRules> = stored.into_iter().collect();
        for user in missing.into_iter().map(UserNum) {
            let stored = stored.remove(&user).map(Arc::new);
            let rules = stored.unwrap_or_else(|| Arc::clone(&cache.defaults));
            cache.insert_read(tx, user, &rules);
            found.insert(user, rules);
        }
        Ok(found)
    }
}
