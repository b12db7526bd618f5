//! Who is there, as it is told to others.
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>
//!
//! Whether somebody is there is judged elsewhere; here is what came of it, and whom it concerns: those who share a room
//! with them.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::fleeting::{Fleeting, Log};
use crate::outbox::PresenceNews;
use crate::{Bus, Listener};

/// In a room with more active devices than this, nobody is woken up because somebody comes or goes: they are told when
/// they are told something else, or their poll ends. So a change costs the same, however large the rooms are.
pub const CROWD: usize = 100;

/// Those who are there no longer are remembered, so that this is told: at most so many.
const REMEMBERED: usize = 50_000;

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PresenceState {
    /// `offline`
    #[default]
    Offline,
    /// `unavailable`
    Unavailable,
    /// `online`
    Online,
}

impl PresenceState {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }
}

/// What is told of a user's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The user.
    pub user_id: Arc<str>,
    /// Whether they are there.
    pub state: PresenceState,
    /// Whether they have just been active: while this is so, nobody is told of further activity.
    pub currently_active: bool,
    /// When they were last active, if that is known.
    pub last_active_ms: Option<i64>,
    /// What they say of themselves.
    pub status: Option<Arc<str>>,
}

impl Presence {
    /// How long ago the user was last active, in milliseconds, if that is known.
    #[must_use]
    pub fn active_ago(&self, now_ms: i64) -> Option<i64> {
        self.last_active_ms.map(|at_ms| (now_ms - at_ms).max(0))
    }

    /// `currently_active`, which is said of nobody but those who are online.
    #[must_use]
    pub fn is_active(&self) -> Option<bool> {
        (self.state == PresenceState::Online).then_some(self.currently_active)
    }
}

/// Users of whom something is known.
#[derive(Debug, Default)]
pub(crate) struct Presences {
    users: FxHashMap<i64, Present>,
    /// Those of them who are there, by the rooms that they are in.
    there: FxHashMap<i64, FxHashSet<i64>>,
    log: Log,
    /// Those of them who are not there.
    offline: usize,
}

#[derive(Debug)]
struct Present {
    presence: Presence,
    /// The rooms that the user is in.
    rooms: FxHashSet<i64>,
    /// Those that they left while `rooms` was being read.
    left: Option<FxHashSet<i64>>,
    /// The number of the last change.
    changed: i64,
}

impl Present {
    fn is_there(&self) -> bool {
        self.presence.state != PresenceState::Offline
    }
}

impl Bus {
    /// Whether anything is known of `user`: if not, call [`Bus::meet`].
    #[must_use]
    pub fn knows(&self, user: i64) -> bool {
        let fleeting = self.shared.fleeting.lock();
        let present = fleeting.presences.users.get(&user);
        present.is_some_and(|present| present.left.is_none())
    }

    /// From now on `user`'s rooms are followed. The caller reads those that they are in, and then calls
    /// [`Bus::introduce`].
    pub fn meet(&self, user: i64, presence: Presence) {
        let mut fleeting = self.shared.fleeting.lock();
        let presences = &mut fleeting.presences;
        if presences.users.contains_key(&user) {
            return;
        }
        let present = Present {
            presence,
            rooms: FxHashSet::default(),
            left: Some(FxHashSet::default()),
            changed: 0,
        };
        presences.offline += usize::from(!present.is_there());
        presences.users.insert(user, present);
        presences.forget();
    }

    /// The rooms that `user` was in when they were read after [`Bus::meet`].
    pub fn introduce(&self, user: i64, rooms: &[i64]) {
        let mut fleeting = self.shared.fleeting.lock();
        let presences = &mut fleeting.presences;
        let Some(present) = presences.users.get_mut(&user) else {
            return;
        };
        if let Some(left) = present.left.take() {
            let still = rooms.iter().filter(|room| !left.contains(room));
            present.rooms.extend(still);
            if present.is_there() {
                come(&mut presences.there, user, &present.rooms);
            }
        }
    }

    /// Changes what is told of `user`. Nobody is woken up yet: see [`Bus::wake_for_presence`].
    pub fn set_presence(&self, user: i64, presence: Presence) {
        let mut fleeting = self.shared.fleeting.lock();
        let presences = &mut fleeting.presences;
        let Some(present) = presences.users.get_mut(&user) else {
            return;
        };
        let was_there = present.is_there();
        present.presence = presence;
        match (was_there, present.is_there()) {
            (false, true) => {
                presences.offline -= 1;
                come(&mut presences.there, user, &present.rooms);
            }
            (true, false) => {
                presences.offline += 1;
                go(&mut presences.there, user, &present.rooms);
            }
            (true, true) | (false, false) => {}
        }
        fleeting.note_presence(user);
        fleeting.outbox.note_presence(user);
        self.wake_for_news(&fleeting);
        self.shared.publish(&fleeting);
    }

    /// `user` is active again, or still. It is told with the next change, and to who asks.
    pub fn note_activity(&self, user: i64, now_ms: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        if let Some(present) = fleeting.presences.users.get_mut(&user) {
            present.presence.last_active_ms = Some(now_ms);
        }
    }

    /// What is known of `user`.
    #[must_use]
    pub fn presence(&self, user: i64) -> Option<Presence> {
        let fleeting = self.shared.fleeting.lock();
        let present = fleeting.presences.users.get(&user)?;
        Some(present.presence.clone())
    }

    /// Who is there in a room, in the order of the users' numbers.
    #[must_use]
    pub fn present_in(&self, room: i64) -> Vec<Presence> {
        let fleeting = self.shared.fleeting.lock();
        let presences = &fleeting.presences;
        let mut users: Vec<i64> = presences.there_in(&[room]).collect();
        users.sort_unstable();
        let present = users.iter().filter_map(|user| presences.users.get(user));
        present.map(|present| present.presence.clone()).collect()
    }

    /// What to tell `listener` as of `upto`: of those who share a room with its user, the changes after `since` (when that
    /// is `None` or too long ago: those who are there), and of those in `new_rooms` all who are there. Whoever has changed
    /// after `upto` is for the next answer. In the order of the users' numbers.
    #[must_use]
    pub fn presence_changed(
        &self,
        (since, upto): (Option<i64>, i64),
        listener: &Listener,
        new_rooms: &[i64],
    ) -> Vec<Presence> {
        let fleeting = self.shared.fleeting.lock();
        let presences = &fleeting.presences;
        // A set: whoever is in many of the rooms is found in each.
        let mut found: FxHashSet<i64> = match since.and_then(|since| presences.log.after(since)) {
            Some(changed) => {
                let rooms = |user| presences.users.get(&user).map(|it| (user, &it.rooms));
                listener.those_beside(changed.filter_map(rooms))
            }
            None => presences.there_in(&listener.followed()).collect(),
        };
        found.extend(presences.there_in(new_rooms));
        found.remove(&listener.user());
        let mut found: Vec<i64> = found.into_iter().collect();
        found.sort_unstable();
        let told = found.iter().filter_map(|user| presences.users.get(user));
        told.filter(|present| present.changed <= upto)
            .map(|present| present.presence.clone())
            .collect()
    }

    /// Wakes those who share a room with one of `users` that is no [`CROWD`]; each once, for all of them together.
    pub fn wake_for_presence(&self, users: &[i64]) {
        let fleeting = self.shared.fleeting.lock();
        let present = users
            .iter()
            .filter_map(|user| fleeting.presences.users.get(user));
        let mut rooms: Vec<i64> = present.flat_map(|it| it.rooms.iter().copied()).collect();
        rooms.sort_unstable();
        rooms.dedup();
        let count = fleeting.count;
        let listeners = self.shared.listeners.lock();
        drop(fleeting);
        let followers = rooms.iter().filter_map(|room| listeners.rooms.get(room));
        let few = followers.filter(|followers| followers.len() <= CROWD);
        let woken: Vec<Arc<Listener>> = few
            .flatten()
            .filter(|listener| listener.note_fleeting(count))
            .cloned()
            .collect();
        drop(listeners);
        for listener in woken {
            listener.wake();
        }
    }

    /// The rooms that `user` is known to be in, in the order of their numbers.
    #[must_use]
    pub fn presence_rooms(&self, user: i64) -> Vec<i64> {
        let fleeting = self.shared.fleeting.lock();
        let present = fleeting.presences.users.get(&user);
        let rooms = present.into_iter().flat_map(|present| &present.rooms);
        let mut rooms: Vec<i64> = rooms.copied().collect();
        rooms.sort_unstable();
        rooms
    }

    /// `user`, of whom nobody here hears when they join and leave, is in these rooms and in no other.
    pub fn place(&self, user: i64, rooms: &[i64]) {
        let mut fleeting = self.shared.fleeting.lock();
        let presences = &mut fleeting.presences;
        let Some(present) = presences.users.get_mut(&user) else {
            return;
        };
        present.left = None;
        let rooms: FxHashSet<i64> = rooms.iter().copied().collect();
        let before = std::mem::replace(&mut present.rooms, rooms);
        go(
            &mut presences.there,
            user,
            before.difference(&present.rooms),
        );
        if present.is_there() {
            come(&mut presences.there, user, &present.rooms);
        }
    }

    /// `user` is in `room` from now on: those in it are told of them.
    pub(crate) fn enter(&self, user: i64, room: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        let presences = &mut fleeting.presences;
        let Some(present) = presences.users.get_mut(&user) else {
            return;
        };
        if let Some(left) = &mut present.left {
            left.remove(&room);
        }
        if present.rooms.insert(room) && present.is_there() {
            come(&mut presences.there, user, &[room]);
            fleeting.note_presence(user);
            self.shared.publish(&fleeting);
        }
    }

    /// `user` is no longer in `room`.
    pub(crate) fn exit(&self, user: i64, room: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        let presences = &mut fleeting.presences;
        if let Some(present) = presences.users.get_mut(&user) {
            present.rooms.remove(&room);
            go(&mut presences.there, user, &[room]);
            if let Some(left) = &mut present.left {
                left.insert(room);
            }
        }
    }
}

/// `user` is there, and in `rooms`.
fn come<'a>(
    there: &mut FxHashMap<i64, FxHashSet<i64>>,
    user: i64,
    rooms: impl IntoIterator<Item = &'a i64>,
) {
    for room in rooms {
        there.entry(*room).or_default().insert(user);
    }
}

/// `user` is not there any longer, or not in `rooms`.
fn go<'a>(
    there: &mut FxHashMap<i64, FxHashSet<i64>>,
    user: i64,
    rooms: impl IntoIterator<Item = &'a i64>,
) {
    for room in rooms {
        if let Entry::Occupied(mut users) = there.entry(*room) {
            users.get_mut().remove(&user);
            if users.get().is_empty() {
                users.remove();
            }
        }
    }
}

impl Fleeting {
    fn note_presence(&mut self, user: i64) {
        let count = self.next();
        if let Some(present) = self.presences.users.get_mut(&user) {
            self.presences.log.note(user, present.changed, count);
            present.changed = count;
        }
    }
}

impl Presences {
    /// Everybody who is there, in no order; who is in no room is there for nobody.
    pub(crate) fn there(&self) -> FxHashSet<i64> {
        self.there.values().flatten().copied().collect()
    }

    pub(crate) fn news_of(&self, user: i64) -> Option<PresenceNews> {
        let present = self.users.get(&user)?;
        Some(PresenceNews {
            presence: present.presence.clone(),
            rooms: present.rooms.clone(),
        })
    }

    /// Those who are there, of each of `rooms`.
    fn there_in(&self, rooms: &[i64]) -> impl Iterator<Item = i64> {
        let users = rooms.iter().filter_map(|room| self.there.get(room));
        users.flatten().copied()
    }

    fn forget(&mut self) {
        if self.offline <= REMEMBERED {
            return;
        }
        let users = &self.users;
        let is_gone = |user: i64| users.get(&user).is_some_and(|present| !present.is_there());
        for user in self.log.forget(REMEMBERED / 10, is_gone) {
            self.users.remove(&user);
            self.offline = self.offline.saturating_sub(1);
        }
    }
}
