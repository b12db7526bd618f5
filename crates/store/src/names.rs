//! Interned names: users, event types and state keys, each an integer.
//!
//! On SQLite a new name is written within the body that needs it: there is one writer. On PostgreSQL two nodes that
//! write new names in different order would wait for each other, so there a body's names are interned before it, in a
//! short transaction of their own ([`Names::intern_ahead`]); the body then finds them. Caches are filled only from
//! committed rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use quick_cache::sync::Cache;
use ruma_common::{OwnedUserId, UserId};
use starling_db::{Db, Dialect, Error, Row, Sql, Tx, Value, Write};

use crate::numbers::{KeyNum, TypeNum, UserNum};

starling_db::statements! {
    /// A user by name.
    USER_NUM = "SELECT user_num FROM users WHERE user_id = ?1";
    /// A user by number.
    USER_ID = "SELECT user_id FROM users WHERE user_num = ?1";
    /// Users by name.
    USER_NUMS = "SELECT user_num, user_id FROM users WHERE user_id IN {texts ?1}";
    /// A new user.
    USER_INTERN = "INSERT INTO users (user_id) VALUES (?1) ON CONFLICT (user_id) DO NOTHING";
    /// An event type by name.
    TYPE_NUM = "SELECT type_num FROM event_types WHERE name = ?1";
    /// An event type by number.
    TYPE_NAME = "SELECT name FROM event_types WHERE type_num = ?1";
    /// A new event type.
    TYPE_INTERN = "INSERT INTO event_types (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
    /// A state key by name.
    KEY_NUM = "SELECT key_num FROM state_keys WHERE name = ?1";
    /// A state key by number.
    KEY_NAME = "SELECT name FROM state_keys WHERE key_num = ?1";
    /// State keys by name.
    KEY_NUMS = "SELECT key_num, name FROM state_keys WHERE name IN {blobs ?1}";
    /// State keys by number.
    KEY_NAMES = "SELECT key_num, name FROM state_keys WHERE key_num IN {ints ?1}";
    /// A new state key.
    KEY_INTERN = "INSERT INTO state_keys (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
}

/// The state key "".
pub const EMPTY_KEY: KeyNum = KeyNum(1);

/// Event types that the code knows by number. Their order is that of the migration.
pub mod types {
    use crate::numbers::TypeNum;

    /// `m.room.create`
    pub const CREATE: TypeNum = TypeNum(1);
    /// `m.room.member`
    pub const MEMBER: TypeNum = TypeNum(2);
    /// `m.room.power_levels`
    pub const POWER_LEVELS: TypeNum = TypeNum(3);
    /// `m.room.join_rules`
    pub const JOIN_RULES: TypeNum = TypeNum(4);
    /// `m.room.history_visibility`
    pub const HISTORY_VISIBILITY: TypeNum = TypeNum(5);
    /// `m.room.redaction`
    pub const REDACTION: TypeNum = TypeNum(6);
    /// `m.room.name`
    pub const NAME: TypeNum = TypeNum(9);
    /// `m.room.topic`
    pub const TOPIC: TypeNum = TypeNum(10);
    /// `m.room.avatar`
    pub const AVATAR: TypeNum = TypeNum(11);
    /// `m.room.canonical_alias`
    pub const CANONICAL_ALIAS: TypeNum = TypeNum(12);
    /// `m.room.guest_access`
    pub const GUEST_ACCESS: TypeNum = TypeNum(13);
    /// `m.room.encryption`
    pub const ENCRYPTION: TypeNum = TypeNum(14);
}

/// A name that a body needs as an integer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A user.
    User(OwnedUserId),
    /// An event type.
    Type(Box<str>),
    /// A state key.
    Key(Box<str>),
}

/// Names and their integers, with bounded caches of committed rows in both directions.
#[derive(Debug)]
pub struct Names {
    users: Cache<OwnedUserId, UserNum>,
    user_ids: Cache<UserNum, OwnedUserId>,
    types: Cache<Box<str>, TypeNum>,
    by_type: Cache<TypeNum, Arc<str>>,
    keys: Cache<Box<str>, KeyNum>,
    by_key: Cache<KeyNum, Arc<str>>,
}

impl Names {
    /// Empty caches of about `entries` names of each kind.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self {
            users: Cache::new(entries),
            user_ids: Cache::new(entries),
            types: Cache::new(entries),
            by_type: Cache::new(entries),
            keys: Cache::new(entries),
            by_key: Cache::new(entries),
        }
    }

    /// The number of `user`, if any event or table speaks of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user(&self, tx: &mut Tx<'_>, user: &UserId) -> Result<Option<UserNum>, Error> {
        if let Some(number) = self.users.get(user) {
            return Ok(Some(number));
        }
        tx.query_one(&USER_NUM, &[user.as_str().into()], |row| {
            Ok(UserNum(row.int(0)?))
        })
    }

    /// The numbers of those of `users` of whom some event or table speaks, with one query for all that isn't at hand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn users<'a>(
        &self,
        tx: &mut Tx<'_>,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Result<BTreeMap<&'a UserId, UserNum>, Error> {
        let mut found = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for user in users {
            match self.users.get(user) {
                Some(number) => drop(found.insert(user, number)),
                None => drop(missing.insert(user.as_str(), user)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let names: Vec<&str> = missing.keys().copied().collect();
        tx.query(&USER_NUMS, &[Value::Texts(&names)], &mut |row| {
            let number = UserNum(row.int(0)?);
            found.extend(missing.get(row.text(1)?).map(|user| (*user, number)));
            Ok(())
        })?;
        Ok(found)
    }

    /// The name of user `number`.
    ///
    /// # Errors
    /// When the database cannot be read; [`Error::Damaged`] when there is no such user.
    pub fn user_id(&self, tx: &mut Tx<'_>, number: UserNum) -> Result<OwnedUserId, Error> {
        if let Some(user) = self.user_ids.get(&number) {
            return Ok(user);
        }
        let text = tx.query_one(&USER_ID, &[number.into()], |row| {
            Ok(row.text(0)?.to_owned())
        })?;
        let user = text.and_then(|text| OwnedUserId::try_from(text).ok());
        let user = user.ok_or_else(|| Error::Damaged(format!("there is no user {}", number.0)))?;
        if tx.is_read_only() {
            self.user_ids.insert(number, user.clone());
        }
        Ok(user)
    }

    /// The number of `user`, within a body that writes: given out now if there is none yet.
    ///
    /// # Errors
    /// When the database fails.
    pub fn user_intern(self: &Arc<Self>, tx: &mut Tx<'_>, user: &UserId) -> Result<UserNum, Error> {
        if let Some(number) = self.users.get(user) {
            return Ok(number);
        }
        let number = UserNum(intern(tx, &USER_NUM, &USER_INTERN, user.as_str().into())?);
        let (names, user) = (Arc::clone(self), user.to_owned());
        tx.after_commit(move || {
            names.users.insert(user.clone(), number);
            names.user_ids.insert(number, user);
        });
        Ok(number)
    }

    /// The number of the event type `name`, if any event has it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn kind(&self, tx: &mut Tx<'_>, name: &str) -> Result<Option<TypeNum>, Error> {
        if let Some(number) = self.types.get(name) {
            return Ok(Some(number));
        }
        let found = tx.query_one(&TYPE_NUM, &[name.as_bytes().into()], |row| {
            Ok(TypeNum(row.int(0)?))
        })?;
        if let (Some(number), true) = (found, tx.is_read_only()) {
            self.types.insert(name.into(), number);
        }
        Ok(found)
    }

    /// The number of the event type `name`, given out now if there is none yet.
    ///
    /// # Errors
    /// When the database fails.
    pub fn kind_intern(self: &Arc<Self>, tx: &mut Tx<'_>, name: &str) -> Result<TypeNum, Error> {
        if let Some(number) = self.types.get(name) {
            return Ok(number);
        }
        let number = TypeNum(intern(tx, &TYPE_NUM, &TYPE_INTERN, name.as_bytes().into())?);
        let (names, name) = (Arc::clone(self), Box::from(name));
        tx.after_commit(move || names.types.insert(name, number));
        Ok(number)
    }

    /// The name of the event type `number`.
    ///
    /// # Errors
    /// When the database cannot be read; [`Error::Damaged`] when there is none.
    pub fn kind_name(&self, tx: &mut Tx<'_>, number: TypeNum) -> Result<Arc<str>, Error> {
        if let Some(name) = self.by_type.get(&number) {
            return Ok(name);
        }
        let name = named(tx, &TYPE_NAME, number.into())?;
        if tx.is_read_only() {
            self.by_type.insert(number, Arc::clone(&name));
        }
        Ok(name)
    }

    /// The number of the state key `name`, if any event has it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key(&self, tx: &mut Tx<'_>, name: &str) -> Result<Option<KeyNum>, Error> {
        if name.is_empty() {
            return Ok(Some(EMPTY_KEY));
        }
        if let Some(number) = self.keys.get(name) {
            return Ok(Some(number));
        }
        let found = tx.query_one(&KEY_NUM, &[name.as_bytes().into()], |row| {
            Ok(KeyNum(row.int(0)?))
        })?;
        if let (Some(number), true) = (found, tx.is_read_only()) {
            self.keys.insert(name.into(), number);
        }
        Ok(found)
    }

    /// The numbers of those of `names` that some event has as its state key, with one query for all that isn't at hand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn keys<'a>(
        &self,
        tx: &mut Tx<'_>,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, KeyNum>, Error> {
        let mut found = HashMap::new();
        let mut missing = BTreeSet::new();
        for name in names {
            match self.keys.get(name) {
                _ if name.is_empty() => drop(found.insert(name, EMPTY_KEY)),
                Some(number) => drop(found.insert(name, number)),
                None => drop(missing.insert(name)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let bytes: Vec<&[u8]> = missing.iter().map(|name| name.as_bytes()).collect();
        let is_read_only = tx.is_read_only();
        tx.query(&KEY_NUMS, &[Value::Blobs(&bytes)], &mut |row| {
            let number = KeyNum(row.int(0)?);
            if let Some(name) = missing.get(row.utf8(1)?) {
                found.insert(name, number);
                if is_read_only {
                    self.keys.insert(Box::from(*name), number);
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The state keys `numbers`, with one query for all that isn't at hand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key_names(
        &self,
        tx: &mut Tx<'_>,
        numbers: impl IntoIterator<Item = KeyNum>,
    ) -> Result<HashMap<KeyNum, Arc<str>>, Error> {
        let mut found = HashMap::new();
        let mut missing = BTreeSet::new();
        for number in numbers {
            match self.by_key.get(&number) {
                Some(name) => drop(found.insert(number, name)),
                None => drop(missing.insert(number.0)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let missing: Vec<i64> = missing.into_iter().collect();
        let is_read_only = tx.is_read_only();
        tx.query(&KEY_NAMES, &[Value::Ints(&missing)], &mut |row| {
            let (number, name) = (KeyNum(row.int(0)?), Arc::<str>::from(row.utf8(1)?));
            if is_read_only {
                self.by_key.insert(number, Arc::clone(&name));
            }
            found.insert(number, name);
            Ok(())
        })?;
        Ok(found)
    }

    /// The number of the state key `name`, given out now if there is none yet.
    ///
    /// # Errors
    /// When the database fails.
    pub fn key_intern(self: &Arc<Self>, tx: &mut Tx<'_>, name: &str) -> Result<KeyNum, Error> {
        if name.is_empty() {
            return Ok(EMPTY_KEY);
        }
        if let Some(number) = self.keys.get(name) {
            return Ok(number);
        }
        let number = KeyNum(intern(tx, &KEY_NUM, &KEY_INTERN, name.as_bytes().into())?);
        let (names, name) = (Arc::clone(self), Box::from(name));
        tx.after_commit(move || names.keys.insert(name, number));
        Ok(number)
    }

    /// The state key `number`.
    ///
    /// # Errors
    /// When the database cannot be read; [`Error::Damaged`] when there is none.
    pub fn key_name(&self, tx: &mut Tx<'_>, number: KeyNum) -> Result<Arc<str>, Error> {
        if let Some(name) = self.by_key.get(&number) {
            return Ok(name);
        }
        let name = named(tx, &KEY_NAME, number.into())?;
        if tx.is_read_only() {
            self.by_key.insert(number, Arc::clone(&name));
        }
        Ok(name)
    }

    /// Which of `names` must be interned before a body that needs them: see [`Names::intern_ahead`].
    #[must_use]
    pub fn unknown(&self, db: &Db, names: impl FnOnce() -> Vec<Name>) -> Vec<Name> {
        // The one difference between the engines here: see the top of this file.
        if db.dialect() == Dialect::Sqlite {
            return Vec::new();
        }
        let mut unknown = names();
        unknown.retain(|name| !self.is_known(name));
        unknown
    }

    /// Before a body that may need new names. On PostgreSQL: writes those that aren't known yet; on SQLite the body
    /// does it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn intern_ahead(self: &Arc<Self>, db: &Db, names: Vec<Name>) -> Result<(), Error> {
        let unknown = self.unknown(db, || names);
        self.intern_all(db, unknown).await
    }

    /// Writes those of the names that aren't known yet: for who needs their numbers before anything else is written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn intern_all(self: &Arc<Self>, db: &Db, names: Vec<Name>) -> Result<(), Error> {
        let mut unknown = names;
        unknown.retain(|name| !self.is_known(name));
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.sort();
        let all = Arc::clone(self);
        db.write(Write::new("intern_names"), move |tx| {
            for name in &unknown {
                match name {
                    Name::User(user) => all.user_intern(tx, user).map(drop)?,
                    Name::Type(name) => all.kind_intern(tx, name).map(drop)?,
                    Name::Key(name) => all.key_intern(tx, name).map(drop)?,
                }
            }
            Ok::<_, Error>(())
        })
        .await
    }

    fn is_known(&self, name: &Name) -> bool {
        match name {
            Name::User(user) => self.users.get(user).is_some(),
            Name::Type(name) => self.types.get(name).is_some(),
            Name::Key(name) => name.is_empty() || self.keys.get(name).is_some(),
        }
    }
}

/// Finds the number of `name`, or gives one out. Another node may do the same at the same time.
fn intern(
    tx: &mut Tx<'_>,
    find: &'static Sql,
    insert: &'static Sql,
    name: Value<'_>,
) -> Result<i64, Error> {
    let number = |row: &dyn Row| row.int(0);
    if let Some(found) = tx.query_one(find, &[name], number)? {
        return Ok(found);
    }
    tx.execute(insert, &[name])?;
    tx.query_one(find, &[name], number)?.ok_or_else(|| {
        Error::Damaged(format!(
            "{} found nothing after {}",
            find.name(),
            insert.name()
        ))
    })
}

fn named(tx: &mut Tx<'_>, find: &'static Sql, number: Value<'_>) -> Result<Arc<str>, Error> {
    tx.query_one(find, &[number], |row| Ok(Arc::from(row.utf8(0)?)))?
        .ok_or_else(|| Error::Damaged(format!("{} found nothing", find.name())))
}
