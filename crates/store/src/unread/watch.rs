//! The local members of a room whose push rules look at more than the shape of events, and how they are found for one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use starling_db::{Error, Tx};
use starling_events::Value;
use starling_pushrules::{EventView, Interest, Shape, words};

use crate::names::types;
use crate::numbers::{KeyNum, UserNum};
use crate::rooms::RoomSnapshot;
use crate::store::Store;

starling_db::statements! {
    /// The members of a room whose rules look at more than the shape of events.
    WATCHERS = "SELECT push_rules.user_num FROM push_rules
            JOIN memberships ON memberships.user_num = push_rules.user_num AND memberships.room_num = ?1
        WHERE push_rules.is_special = 1 AND memberships.membership = 2 ORDER BY push_rules.user_num LIMIT ?2";
}

/// Rules of so many members of a room are evaluated, at most; of others only what shapes and mentions decide.
const MOST_WATCHERS: i64 = 1_000;

/// What a watcher costs beside names and words: the structs and their counters.
const BYTES_OF_WATCHER: usize = 250;

/// What a word costs beside its letters: two strings and a list.
const BYTES_OF_WORD: usize = 120;

/// A member whose rules must be evaluated for some events.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) user: UserNum,
    pub(crate) user_id: String,
    pub(crate) display_name: Option<String>,
    interest: Arc<Interest>,
}

impl Watcher {
    /// About how much memory it takes, with its places in the tables of words: the interest may be shared with other
    /// rooms, but nothing else keeps it where there is little room for rulesets.
    fn bytes(&self) -> u64 {
        let words = self.interest.words.iter().chain(&self.interest.senders);
        let words: usize = words.map(|word| 2 * word.len() + BYTES_OF_WORD).sum();
        let name = self.display_name.as_ref().map_or(0, String::len);
        (BYTES_OF_WATCHER + self.user_id.len() + name + words) as u64
    }
}

/// All of them, by what they look for. It finds everybody whose rules may say something of their own of an event, and
/// perhaps others.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Of which change of what is looked for in the room it knows.
    version: u64,
    watchers: Vec<Arc<Watcher>>,
    by_word: HashMap<Box<str>, Vec<usize>>,
    by_sender: HashMap<Box<str>, Vec<usize>>,
    /// Those who look for a name without a word in it.
    nameless: Vec<usize>,
    bytes: u64,
}

impl Watch {
    fn new(version: u64, watchers: Vec<Arc<Watcher>>) -> Self {
        let mut watch = Self {
            version,
            watchers: Vec::new(),
            by_word: HashMap::new(),
            by_sender: HashMap::new(),
            nameless: Vec::new(),
            bytes: watchers.iter().map(|watcher| watcher.bytes()).sum(),
        };
        for (at, watcher) in watchers.iter().enumerate() {
            for word in &watcher.interest.words {
                watch
                    .by_word
                    .entry(word.as_str().into())
                    .or_default()
                    .push(at);
            }
            for sender in &watcher.interest.senders {
                watch
                    .by_sender
                    .entry(sender.as_str().into())
                    .or_default()
                    .push(at);
            }
            let name = watcher
                .display_name
                .as_deref()
                .unwrap_or_default()
                .to_lowercase();
            if watcher.interest.display_name && !name.is_empty() {
                match words(&name).max_by_key(|word| word.len()) {
                    Some(word) => watch.by_word.entry(word.into()).or_default().push(at),
                    None => watch.nameless.push(at),
                }
            }
        }
        watch.watchers = watchers;
        watch
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Those whose rules must be evaluated for an event. The work grows with the event, not with the words.
    pub(crate) fn find(&self, event: &EventView<'_>, shape: Shape) -> Vec<Arc<Watcher>> {
        if self.watchers.is_empty() {
            return Vec::new();
        }
        let mut found: BTreeSet<usize> = BTreeSet::new();
        let all = self.watchers.iter().enumerate();
        found.extend(
            all.filter(|(_, watcher)| watcher.interest.has(shape))
                .map(|(at, _)| at),
        );
        if !self.by_sender.is_empty() {
            let sender = event.pdu().sender().as_str().to_lowercase();
            found.extend(self.by_sender.get(sender.as_str()).into_iter().flatten());
        }
        if !(self.by_word.is_empty() && self.nameless.is_empty())
            && let Some(body) = event.lower_body()
        {
            found.extend(&self.nameless);
            for word in words(body) {
                found.extend(self.by_word.get(word).into_iter().flatten());
            }
        }
        let watchers = found.into_iter().filter_map(|at| self.watchers.get(at));
        watchers.cloned().collect()
    }
}

impl Store {
    /// The watch of a room as it is in `after`: that which it had before, or read now.
    pub(crate) fn watch(&self, tx: &mut Tx<'_>, after: &RoomSnapshot) -> Result<Arc<Watch>, Error> {
        let version = self.rulesets().version(after.room);
        if let Some(watch) = after
            .unread
            .watch
            .as_ref()
            .filter(|watch| watch.version == version)
        {
            return Ok(Arc::clone(watch));
        }
        let params = [after.room.into(), MOST_WATCHERS.into()];
        let users = tx.query_all(&WATCHERS, &params, |row| Ok(UserNum(row.int(0)?)))?;
        let watchers = self.watchers(tx, after, &users)?;
        Ok(Arc::new(Watch::new(version, watchers)))
    }

    /// The watch after a member event for a local user, who may have come, gone, or got another name.
    pub(crate) fn watch_member(
        &self,
        tx: &mut Tx<'_>,
        after: &RoomSnapshot,
        user: UserNum,
    ) -> Result<Option<Arc<Watch>>, Error> {
        let version = self.rulesets().version(after.room);
        let Some(watch) = after
            .unread
            .watch
            .as_ref()
            .filter(|watch| watch.version == version)
        else {
            return Ok(None);
        };
        let mut watchers = self.watchers(tx, after, &[user])?;
        if watchers.is_empty() && watch.watchers.iter().all(|watcher| watcher.user != user) {
            return Ok(Some(Arc::clone(watch)));
        }
        let others = watch.watchers.iter().filter(|watcher| watcher.user != user);
        watchers.extend(others.cloned());
        Ok(Some(Arc::new(Watch::new(version, watchers))))
    }

    /// Those of `users` who are in the room and have something to look for in it.
    fn watchers(
        &self,
        tx: &mut Tx<'_>,
        after: &RoomSnapshot,
        users: &[UserNum],
    ) -> Result<Vec<Arc<Watcher>>, Error> {
        let mut watchers = Vec::new();
        let all = self.push_rules_of(tx, users)?;
        for user in users {
            let Some(rules) = all.get(user).filter(|rules| rules.ruleset.is_changed()) else {
                continue;
            };
            let user_id = self.names().user_id(tx, *user)?;
            let interest = rules.interest(user_id.as_str());
            if interest.is_empty() {
                continue;
            }
            let Some(key) = self.names().key(tx, user_id.as_str())? else {
                continue;
            };
            if !after.has_joined(key) {
                continue;
            }
            let display_name = if interest.display_name {
                self.display_name(tx, after, key)?
            } else {
                None
            };
            watchers.push(Arc::new(Watcher {
                user: *user,
                user_id: user_id.into(),
                display_name,
                interest: Arc::clone(interest),
            }));
        }
        Ok(watchers)
    }

    /// What a member is called in a room.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn display_name(
        &self,
        tx: &mut Tx<'_>,
        room: &RoomSnapshot,
        key: KeyNum,
    ) -> Result<Option<String>, Error> {
        let Some(number) = room.state_event(types::MEMBER, key) else {
            return Ok(None);
        };
        let event = self.event_read(tx, number)?;
        Ok(event.and_then(|event| {
            let name = Value::new(event.pdu.content())
                .get("displayname")?
                .as_str()?;
            Some(name.into_owned())
        }))
    }
}
