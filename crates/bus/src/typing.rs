//! Who is typing where.
//! <https://spec.matrix.org/v1.19/client-server-api/#typing-notifications>

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::fleeting::Log;
use crate::{Bus, Listener};

/// Rooms in which nobody types any longer are remembered, so that this is told: at most so many.
const REMEMBERED: usize = 10_000;

/// The rooms in which somebody is typing, or was.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    rooms: FxHashMap<i64, RoomTyping>,
    /// Those in which somebody is.
    active: BTreeSet<i64>,
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

impl Typing {
    /// Changes who types in a room; whether they are others then. `count` numbers the change, if there is one.
    fn change(&mut self, room: i64, count: i64, change: impl FnOnce(&mut Vec<Typist>)) -> bool {
        let entry = self.rooms.entry(room).or_default();
        let before: Vec<i64> = entry.users.iter().map(|typist| typist.user).collect();
        change(&mut entry.users);
        let after = entry.users.iter().map(|typist| typist.user);
        if after.eq(before) {
            if entry.changed == 0 {
                self.rooms.remove(&room);
            }
            return false;
        }
        self.log.note(room, entry.changed, count);
        entry.changed = count;
        if entry.users.is_empty() {
            self.active.remove(&room);
            self.forget();
        } else {
            self.active.insert(room);
        }
        true
    }

    fn forget(&mut self) {
        if self.rooms.len() - self.active.len() > REMEMBERED {
            let active = &self.active;
            let forgotten = self
                .log
                .forget(REMEMBERED / 10, |room| !active.contains(&room));
            for room in forgotten {
                self.rooms.remove(&room);
            }
        }
    }
}

impl Bus {
    /// `user` is typing in `room` until a time, unless they go on.
    pub fn type_until(&self, room: i64, (user, user_id): (i64, &str), until_ms: i64) {
        self.change_typing(room, |users| {
            match users.iter_mut().find(|typist| typist.user == user) {
                Some(typist) => typist.until_ms = until_ms,
                None => users.push(Typist {
                    user,
                    user_id: user_id.into(),
                    until_ms,
                }),
            }
        });
    }

    /// `user` isn't typing in `room` any longer.
    pub fn end_typing(&self, room: i64, user: i64) {
        self.change_typing(room, |users| users.retain(|typist| typist.user != user));
    }

    /// As [`Bus::end_typing`], where those in the room are about to be woken up for something else: nobody is before
    /// that, so that they are told both at once.
    pub fn end_typing_with(&self, room: i64, user: i64) {
        let mut fleeting = self.shared.fleeting.lock();
        // Nearly always nobody is typing.
        if !fleeting.typing.active.contains(&room) {
            return;
        }
        let count = fleeting.count + 1;
        let end = |users: &mut Vec<Typist>| users.retain(|typist| typist.user != user);
        if fleeting.typing.change(room, count, end) {
            fleeting.count = count;
            self.shared.publish(&fleeting);
        }
    }

    /// Ends the typing of those whose time is up. When the next one's is; `None` when nobody types.
    #[must_use]
    pub fn expire_typing(&self, now_ms: i64) -> Option<i64> {
        let rooms = self.shared.fleeting.lock().typing.active.clone();
        for room in rooms {
            self.change_typing(room, |users| {
                users.retain(|typist| typist.until_ms > now_ms);
            });
        }
        let fleeting = self.shared.fleeting.lock();
        let typing = &fleeting.typing;
        let rooms = typing
            .active
            .iter()
            .filter_map(|room| typing.rooms.get(room));
        let typists = rooms.flat_map(|room| &room.users);
        typists.map(|typist| typist.until_ms).min()
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

    fn change_typing(&self, room: i64, change: impl FnOnce(&mut Vec<Typist>)) {
        let mut fleeting = self.shared.fleeting.lock();
        let count = fleeting.count + 1;
        if fleeting.typing.change(room, count, change) {
            fleeting.count = count;
            self.tell_room(room, fleeting);
        }
    }
}
