//! Ignored users: whom a user doesn't want to hear of.
//! <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>
//!
//! The list is what account data says, kept parsed. Whom a change took off the list is a row of its own, since account
//! data is a current value: a client is told anew of the rooms in which it missed something. A user has at most
//! [`REMEMBERED`] such rows and a few; they stay.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use starling_db::{Commits, Error, Tx};

use crate::account_data::{AccountData, GLOBAL, account_data_current};
use crate::last_changes::LastChanges;
use crate::numbers::{RoomNum, UserNum};
use crate::store::Store;

starling_db::statements! {
    /// The numbers of some users.
    IGNORED_NUMS = "SELECT user_num, user_id FROM users WHERE user_id IN {texts ?1}";
    /// Those of some rooms in which one of some users has sent what is no state: what is hidden from who ignores them.
    ROOMS_WITH_WORDS = "SELECT rooms.value FROM {ints ?1} AS rooms WHERE EXISTS (
        SELECT 1 FROM {ints ?2} AS senders CROSS JOIN events
        WHERE events.room_num = rooms.value AND events.sender_num = senders.value AND events.key_num IS NULL
            AND events.place_major IS NOT NULL)";
    /// Whom a change took off a user's list.
    UNIGNORED_INSERT = "INSERT INTO unignored (user_num, position, users) VALUES (?1, ?2, ?3)";
    /// Whom the changes in a stretch of the log took off.
    UNIGNORED_READ = "SELECT users FROM unignored WHERE user_num = ?1 AND position > ?2 AND position <= ?3
        ORDER BY position";
    /// Of the changes before the last few, only that there were some is kept.
    UNIGNORED_MERGE = "UPDATE unignored SET users = NULL WHERE user_num = ?1 AND position = (
        SELECT position FROM unignored WHERE user_num = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2)";
    /// Forgets the changes before the one that says so.
    UNIGNORED_FORGET = "DELETE FROM unignored WHERE user_num = ?1 AND position < (
        SELECT MAX(position) FROM unignored WHERE user_num = ?1 AND users IS NULL)";
}

/// The type of account data that holds the list.
pub const IGNORED_USER_LIST: &str = "m.ignored_user_list";

/// So many changes of a list are remembered one by one. For who is further behind, anybody may have been taken off.
pub const REMEMBERED: i64 = 20;

/// Where there are more pairs of a room and a user than this to look at, something is taken to be hidden in every room.
const MOST_PAIRS: usize = 20_000;

/// Whom a user ignores.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    users: HashSet<Box<str>>,
    /// The numbers of those of whom this server had heard when the list was read. They never change.
    numbers: Vec<UserNum>,
    /// The others: their numbers are looked up each time, since they may be heard of any time.
    unheard: Vec<Box<str>>,
    /// Of the last change of the list.
    pub position: i64,
}

/// Whom changes of a list took off it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unignored {
    /// These.
    Users(Vec<Box<str>>),
    /// Nobody knows any longer.
    Anybody,
}

impl Ignored {
    /// The list that account data of `user_id` says. Nobody ignores themselves, and what has not the form of a list is
    /// an empty one.
    fn read(user_id: &str, data: &AccountData) -> Self {
        let content: Option<Map<String, Value>> = serde_json::from_str(&data.content).ok();
        let list = content
            .as_ref()
            .and_then(|content| content.get("ignored_users"));
        let users = list
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys);
        let mut users: HashSet<Box<str>> = users.map(|user| Box::from(user.as_str())).collect();
        users.remove(user_id);
        Self {
            users,
            position: data.position,
            ..Self::default()
        }
    }

    /// Finds out the numbers of the users.
    fn with_numbers(mut self, tx: &mut Tx<'_>) -> Result<Self, Error> {
        let known = numbers_of(tx, &self.users)?;
        let unheard = self
            .users
            .iter()
            .filter(|name| !known.contains_key(&***name));
        self.unheard = unheard.cloned().collect();
        self.numbers = known.into_values().collect();
        Ok(self)
    }

    /// Whether nobody is ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether this user is ignored.
    #[must_use]
    pub fn has(&self, user_id: &str) -> bool {
        !self.users.is_empty() && self.users.contains(user_id)
    }
}

/// The numbers of those of some users of whom this server has ever heard.
fn numbers_of<'a>(
    tx: &mut Tx<'_>,
    names: impl IntoIterator<Item = &'a Box<str>>,
) -> Result<HashMap<String, UserNum>, Error> {
    // U+0000 is in no user id, and PostgreSQL takes no text with one.
    let names = names.into_iter().filter(|name| !name.contains('\0'));
    let names: Vec<&str> = names.map(|name| &**name).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let params = [starling_db::Value::Texts(&names)];
    let read = tx.query_all(&IGNORED_NUMS, &params, |row| {
        Ok((row.text(1)?.to_owned(), UserNum(row.int(0)?)))
    })?;
    Ok(read.into_iter().collect())
}

/// Those of `rooms` in which something is hidden from who ignores `users`; where finding that out would take too long, all.
///
/// # Errors
/// When the database cannot be read.
pub fn rooms_hiding(
    tx: &mut Tx<'_>,
    rooms: &[RoomNum],
    users: &[Box<str>],
) -> Result<Vec<RoomNum>, Error> {
    let senders = numbers_of(tx, users)?.into_values();
    let senders: Vec<i64> = senders.map(|user| user.0).collect();
    if senders.len().saturating_mul(rooms.len()) > MOST_PAIRS {
        return Ok(rooms.to_vec());
    }
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let params = [
        starling_db::Value::Ints(&rooms),
        starling_db::Value::Ints(&senders),
    ];
    tx.query_all(&ROOMS_WITH_WORDS, &params, |row| Ok(RoomNum(row.int(0)?)))
}

/// The lists of users, kept parsed.
pub struct IgnoredLists {
    lists: Cache<UserNum, Arc<Ignored>, ByNames>,
    changes: LastChanges,
}

#[derive(Debug, Clone)]
struct ByNames;

impl Weighter<UserNum, Arc<Ignored>> for ByNames {
    fn weight(&self, _user: &UserNum, ignored: &Arc<Ignored>) -> u64 {
        let names = ignored.users.iter().chain(&ignored.unheard);
        let names = names.map(|name| name.len() as u64 + 40);
        names.sum::<u64>() + ignored.numbers.len() as u64 * 8 + 200
    }
}

impl fmt::Debug for IgnoredLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IgnoredLists").finish_non_exhaustive()
    }
}

impl IgnoredLists {
    pub(crate) fn new(bytes: u64, commits: Commits) -> Self {
        let estimate = usize::try_from(bytes / 200).unwrap_or(usize::MAX).max(16);
        Self {
            lists: Cache::with_weighter(estimate, bytes, ByNames),
            changes: LastChanges::new(1, commits),
        }
    }

    fn insert_read(&self, tx: &Tx<'_>, user: UserNum, ignored: &Arc<Ignored>) {
        let insert = || self.lists.insert(user, Arc::clone(ignored));
        let remove = || drop(self.lists.remove(&user));
        self.changes.put_read(tx, 0, insert, remove);
    }

    /// From the hook of the commit that changed the list.
    fn forget(&self, user: UserNum) {
        self.changes.note(0);
        self.lists.remove(&user);
    }
}

impl Store {
    /// Whom `user` ignores now. A change above a reader's head is no harm: what it hides would be hidden by the next
    /// answer, and of what it shows again all is told by the next.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn ignored(&self, tx: &mut Tx<'_>, user: UserNum) -> Result<Arc<Ignored>, Error> {
        if let Some(ignored) = self.ignored_lists().lists.get(&user) {
            return Ok(ignored);
        }
        let data = account_data_current(tx, user, GLOBAL, IGNORED_USER_LIST)?;
        let ignored = Arc::new(match data {
            Some(data) => {
                let user_id = self.names().user_id(tx, user)?;
                Ignored::read(user_id.as_str(), &data).with_numbers(tx)?
            }
            None => Ignored::default(),
        });
        self.ignored_lists().insert_read(tx, user, &ignored);
        Ok(ignored)
    }

    /// The numbers of those whom `user` ignores, of whom this server has ever heard: without a query, unless the list
    /// names somebody of whom it had not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn ignored_numbers(&self, tx: &mut Tx<'_>, user: UserNum) -> Result<Vec<UserNum>, Error> {
        let ignored = self.ignored(tx, user)?;
        let mut numbers = ignored.numbers.clone();
        numbers.extend(numbers_of(tx, &ignored.unheard)?.into_values());
        Ok(numbers)
    }

    /// Notes what a change of account data does to the list of ignored users: to be called in the transaction of the
    /// change, before it. `new` is what is about to be stored.
    ///
    /// # Errors
    /// When the database fails.
    pub fn ignored_change(
        &self,
        tx: &mut Tx<'_>,
        user: UserNum,
        new: &AccountData,
    ) -> Result<(), Error> {
        if new.room != GLOBAL || new.kind != IGNORED_USER_LIST {
            return Ok(());
        }
        let user_id = self.names().user_id(tx, user)?;
        let old = account_data_current(tx, user, GLOBAL, IGNORED_USER_LIST)?;
        let old = old.map(|old| Ignored::read(user_id.as_str(), &old));
        let kept = Ignored::read(user_id.as_str(), new);
        let mut gone: Vec<Box<str>> = old.into_iter().flat_map(|old| old.users).collect();
        gone.retain(|name| !kept.has(name));
        if !gone.is_empty() {
            gone.sort_unstable();
            unignored_insert(tx, user, new.position, &gone)?;
        }
        let store = self.clone();
        tx.after_commit(move || store.ignored_lists().forget(user));
        Ok(())
    }
}

fn unignored_insert(
    tx: &mut Tx<'_>,
    user: UserNum,
    position: i64,
    gone: &[Box<str>],
) -> Result<(), Error> {
    let list = serde_json::to_vec(gone).map_err(|error| Error::Damaged(error.to_string()))?;
    let params = [user.into(), position.into(), list.as_slice().into()];
    tx.execute_one(&UNIGNORED_INSERT, &params)?;
    tx.execute(&UNIGNORED_MERGE, &[user.into(), REMEMBERED.into()])?;
    tx.execute(&UNIGNORED_FORGET, &[user.into()]).map(drop)
}

/// Whom `user` stopped to ignore after `since` and up to `upto`.
///
/// # Errors
/// When the database cannot be read.
pub fn unignored_read(
    tx: &mut Tx<'_>,
    user: UserNum,
    since: i64,
    upto: i64,
) -> Result<Unignored, Error> {
    let params = [user.into(), since.into(), upto.into()];
    let rows = tx.query_all(&UNIGNORED_READ, &params, |row| {
        let damaged = |_| Error::Damaged("a list of users cannot be read".to_owned());
        let list = row.opt_bytes(0)?;
        list.map(|list| serde_json::from_slice::<Vec<Box<str>>>(list).map_err(damaged))
            .transpose()
    })?;
    let all: Option<Vec<Vec<Box<str>>>> = rows.into_iter().collect();
    Ok(all.map_or(Unignored::Anybody, |all| {
        Unignored::Users(all.into_iter().flatten().collect())
    }))
}
