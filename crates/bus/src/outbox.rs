//! What other servers are to be told and is not stored: who types where, and who is there.
//!
//! Only what has changed is noted, and only once somebody tells other servers at all ([`Bus::open_outbox`]): whoever takes
//! it is told how things are then, so that many changes of one thing are told once.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::fleeting::Fleeting;
use crate::{Bus, Presence};

/// So much of each kind is noted; what comes while there is as much is not told to other servers.
const MOST: usize = 10_000;

/// What has changed since it was taken last.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    is_open: bool,
    typing: BTreeSet<(i64, i64, Arc<str>)>,
    presences: BTreeSet<i64>,
}

impl Outbox {
    pub(crate) fn note_typing(&mut self, room: i64, user: i64, user_id: &str) {
        if self.is_open && self.typing.len() < MOST {
            self.typing.insert((room, user, user_id.into()));
        }
    }

    pub(crate) fn note_presence(&mut self, user: i64) {
        if self.is_open && self.presences.len() < MOST {
            self.presences.insert(user);
        }
    }

    fn is_empty(&self) -> bool {
        self.typing.is_empty() && self.presences.is_empty()
    }
}

/// Whether somebody types in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypingNews {
    /// The room.
    pub room: i64,
    /// The user.
    pub user_id: Arc<str>,
    /// Whether they type there now.
    pub is_typing: bool,
}

/// How somebody's presence is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceNews {
    /// What is told of them.
    pub presence: Presence,
    /// The rooms that they are in.
    pub rooms: FxHashSet<i64>,
}

/// What is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// In the order of the rooms' numbers.
    pub typing: Vec<TypingNews>,
    /// In the order of the users' numbers.
    pub presences: Vec<PresenceNews>,
}

impl Bus {
    /// From now on it is noted what others are to be told; of local users and of others.
    pub fn open_outbox(&self) {
        self.shared.fleeting.lock().outbox.is_open = true;
    }

    /// Waits until something is noted.
    pub async fn has_news(&self) {
        loop {
            let noted = self.shared.news.notified();
            if !self.shared.fleeting.lock().outbox.is_empty() {
                return;
            }
            noted.await;
        }
    }

    /// Takes what is noted.
    #[must_use]
    pub fn take_news(&self) -> News {
        let mut fleeting = self.shared.fleeting.lock();
        let typing = std::mem::take(&mut fleeting.outbox.typing);
        let presences = std::mem::take(&mut fleeting.outbox.presences);
        let typing = typing.into_iter().map(|(room, user, user_id)| TypingNews {
            is_typing: fleeting.typing.is_typing(room, user),
            room,
            user_id,
        });
        let of_user = |user: i64| fleeting.presences.news_of(user);
        News {
            typing: typing.collect(),
            presences: presences.into_iter().filter_map(of_user).collect(),
        }
    }

    /// Notes everybody who is there for being told again, of those whose number leaves `turn` when divided by `turns`:
    /// other servers take a user for gone of whom they hear nothing for long.
    pub fn tell_presence_again(&self, turn: i64, turns: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        let Fleeting {
            presences, outbox, ..
        } = &mut *fleeting;
        for user in presences.there() {
            if turns > 0 && user.rem_euclid(turns) == turn {
                outbox.note_presence(user);
            }
        }
        let has_news = !outbox.is_empty();
        drop(fleeting);
        if has_news {
            self.shared.news.notify_one();
        }
    }

    /// Wakes whoever tells other servers, if there is something for them.
    pub(crate) fn wake_for_news(&self, fleeting: &Fleeting) {
        if !fleeting.outbox.is_empty() {
            self.shared.news.notify_one();
        }
    }
}
