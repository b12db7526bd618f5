//! The user directory. <https://spec.matrix.org/v1.19/client-server-api/#user-directory>
//!
//! Each word that is looked for must be the beginning of a word of the user's id or display name. The longest of them is
//! looked up in the index of words, in alphabetical order, so that whole words come before longer ones; the users whom
//! it finds are kept if the asking user may see them and the other words fit too. Users of other servers are found likewise,
//! by what their member events show in rooms that the asking user may see (`others.rs`).

mod others;

use std::collections::{HashMap, HashSet};

use ruma_common::OwnedUserId;
use starling_db::{Error, Tx};
use starling_store::user_words::{
    NamedUser, UserWord, users_named, users_visible, words_from, words_of,
};
use starling_store::{Store, UserNum};

use crate::Search;

/// The most users of one answer.
pub const MAX_USERS: usize = 50;

/// Words that are read at once.
const CHUNK: i64 = 200;

/// A search gives up after so many words of the index, and says that there may be more users.
const MAX_WORDS: usize = 5_000;

/// A user who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUser {
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The display name.
    pub display_name: Option<String>,
    /// The picture.
    pub avatar_url: Option<String>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserResults {
    /// The users, the best first.
    pub users: Vec<FoundUser>,
    /// Whether there are more, or may be.
    pub limited: bool,
}

impl Search {
    /// At most `limit` users whom `asker` may see, found by `term`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn users(
        &self,
        asker: UserNum,
        term: &str,
        limit: usize,
    ) -> Result<UserResults, Error> {
        let term = Term::new(term);
        if term.words.is_empty() {
            return Ok(UserResults {
                users: Vec::new(),
                limited: false,
            });
        }
        let is_local = self.server_name.as_str().starts_with(&*term.server);
        let (limit, store) = (limit.min(MAX_USERS), self.store.clone());
        let read = move |tx: &mut Tx<'_>| find(tx, &store, (asker, &term), (is_local, limit));
        self.store.db().scan("search_users", read).await
    }
}

/// What is looked for.
struct Term {
    /// In lower case, without what marks a user id.
    whole: String,
    /// The longest first.
    words: Vec<String>,
    /// How the name of the user's server begins, if somebody looks for a whole user id or the beginning of one.
    server: String,
}

impl Term {
    fn new(text: &str) -> Self {
        let text = text.trim();
        let id = text.strip_prefix('@').and_then(|id| id.split_once(':'));
        let (text, server) = id.unwrap_or((text, ""));
        let mut words = words_of(text);
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        Self {
            whole: text.trim_start_matches('@').to_lowercase(),
            words,
            server: server.to_owned(),
        }
    }

    /// The word that is looked up.
    fn longest(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Whether each word is the beginning of one of the user's.
    fn fits(&self, user: &FoundUser) -> bool {
        if !user
            .user_id
            .server_name()
            .as_str()
            .starts_with(&*self.server)
        {
            return false;
        }
        let name = user.display_name.as_deref().unwrap_or_default();
        let mut words = words_of(name);
        words.extend(words_of(user.user_id.localpart()));
        let begins = |wanted: &String| words.iter().any(|word| word.starts_with(&**wanted));
        self.words.iter().all(begins)
    }

    /// Less is better: who is called just so, then who has a name for people, then the others.
    fn rank(&self, user: &FoundUser) -> u8 {
        let name = user.display_name.as_deref().map(str::to_lowercase);
        let is_whole = name.as_ref() == Some(&self.whole) || user.user_id.localpart() == self.whole;
        match (is_whole, name) {
            (true, _) => 0,
            (false, Some(_)) => 1,
            (false, None) => 2,
        }
    }
}

fn find(
    tx: &mut Tx<'_>,
    store: &Store,
    (asker, term): (UserNum, &Term),
    (is_local, limit): (bool, usize),
) -> Result<UserResults, Error> {
    let mut all = UserResults {
        users: Vec::new(),
        limited: false,
    };
    if is_local {
        all = local(tx, asker, term, limit)?;
    }
    let others::Others {
        common,
        mut strangers,
        limited,
    } = others::find(tx, store, (asker, term), limit)?;
    all.users.extend(common);
    all.users.sort_by_key(|user| term.rank(user));
    strangers.sort_by_key(|user| term.rank(user));
    all.users.extend(strangers);
    all.limited |= limited || all.users.len() > limit;
    all.users.truncate(limit);
    Ok(all)
}

/// Users of this server, in no order.
fn local(tx: &mut Tx<'_>, asker: UserNum, term: &Term, limit: usize) -> Result<UserResults, Error> {
    let beginning = term.longest();
    let (mut found, mut seen, mut looked_at) = (Vec::new(), HashSet::new(), 0);
    let mut after = UserWord::first(beginning);
    let limited = loop {
        let words = words_from(tx, &after, beginning, CHUNK)?;
        looked_at += words.len();
        let is_last = i64::try_from(words.len()).is_ok_and(|length| length < CHUNK);
        let new: Vec<i64> = words
            .iter()
            .filter(|word| seen.insert(word.user))
            .map(|word| word.user.0)
            .collect();
        found.extend(
            visible(tx, asker, &new)?
                .into_iter()
                .filter(|user| term.fits(user)),
        );
        if found.len() > limit {
            break true;
        }
        if is_last {
            break false;
        }
        if looked_at >= MAX_WORDS {
            break true;
        }
        match words.into_iter().next_back() {
            Some(last) => after = last,
            None => break false,
        }
    };
    Ok(UserResults {
        users: found,
        limited,
    })
}

/// Those of some users whom the asking one may see, in the same order.
fn visible(tx: &mut Tx<'_>, asker: UserNum, users: &[i64]) -> Result<Vec<FoundUser>, Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let visible = users_visible(tx, asker, users)?;
    let numbers: Vec<i64> = visible.iter().map(|user| user.0).collect();
    let named = users_named(tx, &numbers)?.into_iter();
    let mut named: HashMap<UserNum, NamedUser> = named.map(|user| (user.user, user)).collect();
    users
        .iter()
        .filter_map(|user| named.remove(&UserNum(*user)))
        .map(found)
        .collect()
}

fn found(user: NamedUser) -> Result<FoundUser, Error> {
    let text = |json: Option<String>| match json {
        Some(json) => serde_json::from_str(&json).map(Some),
        None => Ok(None),
    };
    let damaged = |_| Error::Damaged(format!("the profile of {} is no text", user.user_id));
    Ok(FoundUser {
        display_name: text(user.display_name).map_err(damaged)?,
        avatar_url: text(user.avatar_url).map_err(damaged)?,
        user_id: user.user_id,
    })
}
