//! Who is typing where.
//! <https://spec.matrix.org/v1.19/client-server-api/#typing-notifications>

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::MutexGuard;
use rustc_hash::FxHashMap;

use crate::fleeting::{Fleeting, Log};
use crate::{Bus, Listener};

/// Rooms in which nobody types any longer are remembered, so that this is told: at most so many.
const REMEMBERED: usize = 10_000;

/// Of so many typists of a room others are told. Who comes when there are as many is not listed.
pub const MOST_TYPISTS: usize = 50;

/// In so many rooms a user types at a time; in further ones they are not listed.
pub const MOST_TYPED_IN: usize = 50;

/// The rooms in which somebody is typing, or was.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    rooms: FxHashMap<i64, RoomTyping>,
    /// Those in which somebody is.
    active: BTreeSet<i64>,
    /// Who types where, in the order in which their time is up: the time, the room and the user.
    due: BTreeSet<(i64, i64, i64)>,
    /// The same by user.
    of_users: BTreeSet<(i64, i64)>,
    log: Log,
}

#[derive(Debug, Default)]
struct RoomTyping {
    /// In the order in which they began.
    users: Vec<Typist>,
    /// The number of the last change of who they are.
    changed: i64,
}

#[derive(Debug)]
struct Typist {
    user: i64,
    user_id: Arc<str>,
    until_ms: i64,
}

impl RoomTyping {
    fn position(&self, user: i64) -> Option<usize> {
        self.users.iter().position(|typist| typist.user == user)
    }
}

impl Typing {
    /// Whether others are typing then than before.
    fn begin(&mut self, room: i64, (user, user_id): (i64, &str), until_ms: i64) -> bool {
        let known = self.rooms.get_mut(&room);
        let known = known.and_then(|it| it.users.iter_mut().find(|typist| typist.user == user));
        if let Some(typist) = known {
            self.due.remove(&(typist.until_ms, room, user));
            self.due.insert((until_ms, room, user));
            typist.until_ms = until_ms;
            return false;
        }
        let typists = self.rooms.get(&room).map_or(0, |it| it.users.len());
        let typed_in = self.of_users.range((user, i64::MIN)..=(user, i64::MAX));
        if typists >= MOST_TYPISTS || typed_in.count() >= MOST_TYPED_IN {
            return false;
        }
        let entry = self.rooms.entry(room).or_default();
        entry.users.push(Typist {
            user,
            user_id: user_id.into(),
            until_ms,
        });
        self.active.insert(room);
        self.due.insert((until_ms, room, user));
        self.of_users.insert((user, room));
        true
    }

    /// Their name, if others are typing then than before.
    fn end(&mut self, room: i64, user: i64) -> Option<Arc<str>> {
        let entry = self.rooms.get_mut(&room)?;
        let at = entry.position(user)?;
        let typist = entry.users.remove(at);
        if entry.users.is_empty() {
            self.active.remove(&room);
        }
        self.due.remove(&(typist.until_ms, room, user));
        self.of_users.remove(&(user, room));
        Some(typist.user_id)
    }

    /// The first of those whose time is up: the room and the user.
    fn first_due(&self, now_ms: i64) -> Option<(i64, i64)> {
        let (until_ms, room, user) = self.due.first().copied()?;
        (until_ms <= now_ms).then_some((room, user))
    }

    pub(crate) fn is_typing(&self, room: i64, user: i64) -> bool {
        self.of_users.contains(&(user, room))
    }

    /// Notes that others type in `room` than before: change `count`.
    fn note(&mut self, room: i64, count: i64) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            self.log.note(room, entry.changed, count);
            entry.changed = count;
        }
        if self.rooms.len() - self.active.len() > REMEMBERED {
            let active = &self.active;
            let may_go = |room| !active.contains(&room);
            for room in self.log.forget(REMEMBERED / 10, may_go) {
                self.rooms.remove(&room);
            }
        }
    }
}

impl Bus {
    /// `user` is typing in `room` until a time, unless they go on. Beyond [`MOST_TYPISTS`] and [`MOST_TYPED_IN`] nobody is
    /// told.
    pub fn type_until(&self, room: i64, (user, user_id): (i64, &str), until_ms: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        let is_news = fleeting.typing.begin(room, (user, user_id), until_ms);
        // Other servers want to hear of it again while it goes on.
        fleeting.outbox.note_typing(room, user, user_id);
        self.wake_for_news(&fleeting);
        if is_news {
            self.tell_typing(&[room].into(), fleeting);
        }
    }

    /// `user` isn't typing in `room` any longer.
    pub fn end_typing(&self, room: i64, user: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        if self.end_one(&mut fleeting, room, user) {
            self.tell_typing(&[room].into(), fleeting);
        }
    }

    /// As [`Bus::end_typing`], where those in the room are about to be woken up for something else: nobody is before
    /// that, so that they are told both at once.
    pub fn end_typing_with(&self, room: i64, user: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        if self.end_one(&mut fleeting, room, user) {
            fleeting.note_typing(room);
            self.shared.publish(&fleeting);
        }
    }

    /// Ends the typing of those whose time is up. When the next one's is; `None` when nobody types.
    #[must_use]
    pub fn expire_typing(&self, now_ms: i64) -> Option<i64> {
        let mut fleeting = self.shared.fleeting.lock();
        let mut changed = BTreeSet::new();
        while let Some((room, user)) = fleeting.typing.first_due(now_ms) {
            self.end_one(&mut fleeting, room, user);
            changed.insert(room);
        }
        let next = fleeting.typing.due.first().map(|(until_ms, ..)| *until_ms);
        if !changed.is_empty() {
            self.tell_typing(&changed, fleeting);
        }
        next
    }

    /// Who is typing in `room`, in the order in which they began.
    #[must_use]
    pub fn typing(&self, room: i64) -> Vec<Arc<str>> {
        let fleeting = self.shared.fleeting.lock();
        let room = fleeting.typing.rooms.get(&room);
        let users = room.into_iter().flat_map(|room| &room.users);
        users.map(|typist| Arc::clone(&typist.user_id)).collect()
    }

    /// The rooms that `listener` follows and in which others type than after change `since`; those in which somebody
    /// types, when `since` is `None` or too long ago.
    #[must_use]
    pub fn typing_changed(&self, since: Option<i64>, listener: &Listener) -> Vec<i64> {
        let fleeting = self.shared.fleeting.lock();
        let typing = &fleeting.typing;
        let changed = since.and_then(|since| typing.log.after(since));
        let rooms: Vec<i64> = match changed {
            Some(changed) => changed.collect(),
            None => typing.active.iter().copied().collect(),
        };
        listener.those_followed(rooms)
    }

    /// Whether others are typing then than before.
    fn end_one(&self, fleeting: &mut Fleeting, room: i64, user: i64) -> bool {
        let ended = fleeting.typing.end(room, user);
        if let Some(user_id) = &ended {
            fleeting.outbox.note_typing(room, user, user_id);
            self.wake_for_news(fleeting);
        }
        ended.is_some()
    }

    /// Notes that others type in `rooms`, and wakes who follows them.
    fn tell_typing(&self, rooms: &BTreeSet<i64>, mut fleeting: MutexGuard<'_, Fleeting>) {
        for room in rooms {
            fleeting.note_typing(*room);
        }
        self.tell_rooms(rooms, fleeting);
    }
}

impl Fleeting {
    fn note_typing(&mut self, room: i64) {
        let count = self.next();
        self.typing.note(room, count);
    }
}
