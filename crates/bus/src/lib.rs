//! Who must wake up: within this process, which change concerns which listener.
//!
//! A writer, after its commit, calls [`Bus::advance`] with the position of its change and the topics that it concerns,
//! and is done: it never calls its readers. A reader takes [`Bus::head`] once, answers as of it, and then waits on its
//! [`Listener`], which remembers the last changes that concerned it: an idle long poll costs nothing but memory.
//!
//! What is here is a hint, not the truth: a listener that doesn't remember far enough back says so
//! ([`Listener::changes_since`] is `None`), and its reader asks the database.

mod fleeting;
mod listener;
mod outbox;
mod presence;
mod typing;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use tokio::sync::Notify;

use fleeting::Fleeting;

pub use listener::Listener;
pub use outbox::{News, PresenceNews, TypingNews};
pub use presence::{CROWD, Presence, PresenceState};
pub use typing::{MOST_TYPED_IN, MOST_TYPISTS};

/// Whom or what a change concerns, by the integers of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Everybody who is in this room: its timeline has grown.
    Room(i64),
    /// Everybody who is in this room: somebody has read in it.
    Receipts(i64),
    /// This user, on all devices: up to where they have read in a room has changed. Others may know of it, or not.
    Reading {
        /// The user.
        user: i64,
        /// The room.
        room: i64,
    },
    /// This user, on all devices.
    User(i64),
    /// This device alone.
    Device(i64),
    /// This device alone: messages to it have come.
    ToDevice(i64),
    /// Everybody who is in this room: of who is there, somebody has other devices, or somebody came or went. Listeners
    /// remember it without the room (0).
    Devices(i64),
}

impl Topic {
    /// Whom it concerns that the devices of a user have changed: the user, and who is in the rooms that they are in.
    #[must_use]
    pub fn of_devices(user: i64, rooms: impl IntoIterator<Item = i64>) -> Vec<Self> {
        let rooms = rooms.into_iter().map(Self::Devices);
        rooms.chain([Self::User(user)]).collect()
    }

    /// As a listener remembers it: those that share many rooms with a user hear of them once.
    fn remembered(self) -> Self {
        match self {
            Self::Devices(_) => Self::Devices(0),
            topic => topic,
        }
    }
}

/// The process's bus; it also holds what is told and not stored (`fleeting.rs`). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    head: AtomicI64,
    /// The number of the next watch.
    watches: AtomicI64,
    listeners: Mutex<Listeners>,
    /// Says of which process `count` is.
    boot: i64,
    /// The last change of what is not stored that readers may see.
    count: AtomicI64,
    /// Taken before `listeners`.
    fleeting: Mutex<Fleeting>,
    /// Told when there is something for other servers.
    news: Notify,
}

/// A listener that is forgotten with its reader.
#[derive(Debug)]
pub struct Watch {
    bus: Bus,
    listener: Arc<Listener>,
}

impl Watch {
    /// The listener.
    #[must_use]
    pub fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut listeners = self.bus.shared.listeners.lock();
        listeners.forget(std::slice::from_ref(&self.listener));
    }
}

/// Who listens to what. A listener is in `devices` and `users` while its device is active, and in `rooms` for each room
/// that its user is in.
#[derive(Debug, Default)]
struct Listeners {
    devices: FxHashMap<i64, Arc<Listener>>,
    users: FxHashMap<i64, Vec<Arc<Listener>>>,
    rooms: FxHashMap<i64, Vec<Arc<Listener>>>,
}

impl Bus {
    /// A bus that starts at `head`, the last position that is committed. `chance` is any number that another process
    /// of this server hardly has.
    #[must_use]
    pub fn new(head: i64, chance: u64) -> Self {
        let shared = Shared {
            head: AtomicI64::new(head),
            watches: AtomicI64::new(-1),
            listeners: Mutex::new(Listeners::default()),
            // It goes into every token of a sync: 2^32 are enough to tell processes apart.
            boot: 1 + i64::from(u32::try_from(chance >> 33).unwrap_or_default()),
            count: AtomicI64::new(0),
            fleeting: Mutex::default(),
            news: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The last position that readers may see.
    #[must_use]
    pub fn head(&self) -> i64 {
        self.shared.head.load(Ordering::Acquire)
    }

    /// The process that counts the changes of what is not stored; above 0.
    #[must_use]
    pub fn boot(&self) -> i64 {
        self.shared.boot
    }

    /// The last change of what is not stored that readers may see: they take it once, first.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.shared.count.load(Ordering::Acquire)
    }

    /// Wakes those who follow one of `rooms`, of which something that is not stored has changed; each once.
    fn tell_rooms(&self, rooms: &BTreeSet<i64>, fleeting: MutexGuard<'_, Fleeting>) {
        let count = fleeting.count;
        let listeners = self.shared.listeners.lock();
        let followers = rooms.iter().filter_map(|room| listeners.rooms.get(room));
        let woken: Vec<Arc<Listener>> = followers
            .flatten()
            .filter(|listener| listener.note_fleeting(count))
            .cloned()
            .collect();
        self.shared.publish(&fleeting);
        drop(listeners);
        drop(fleeting);
        for listener in woken {
            listener.wake();
        }
    }

    /// Tells that all up to `position` is committed and in the caches, and that the change at `position` concerns
    /// `topics`. Called after the commit, in the order of the commits.
    pub fn advance(&self, position: i64, topics: &[Topic]) {
        let listeners = self.shared.listeners.lock();
        let concerned = listeners.note(position, topics);
        // After the notes: whoever reads this head finds the change noted with each listener that it concerns. And with the
        // lock: who begins to follow a room too late for the note is told by the head from where to read.
        self.shared.head.fetch_max(position, Ordering::Release);
        drop(listeners);
        for listener in concerned {
            listener.wake();
        }
    }

    /// The listener of a device, made on first use. A new one (second value) follows no rooms yet: the caller lets it
    /// follow those that the user is in, and then calls [`Listener::ready`]. Rooms that the user joins or leaves
    /// meanwhile reach it through [`Bus::follow`]. `now_ms` is noted as its last use, so that no sweep takes it away from
    /// whoever has just asked for it.
    #[must_use]
    pub fn listen(&self, user: i64, device: i64, now_ms: i64) -> (Arc<Listener>, bool) {
        let mut listeners = self.shared.listeners.lock();
        if let Some(listener) = listeners.devices.get(&device) {
            listener.used(now_ms);
            return (Arc::clone(listener), false);
        }
        let listener = Arc::new(Listener::new(user, device, now_ms));
        listeners.devices.insert(device, Arc::clone(&listener));
        listeners
            .users
            .entry(user)
            .or_default()
            .push(Arc::clone(&listener));
        (listener, true)
    }

    /// From now on changes of `room` concern the listeners of `user`, who is in it (again).
    pub fn follow(&self, user: i64, room: i64) {
        let mut listeners = self.shared.listeners.lock();
        for listener in listeners.users.get(&user).cloned().unwrap_or_default() {
            listeners.add(room, &listener);
        }
        drop(listeners);
        self.enter(user, room);
    }

    /// As [`Bus::follow`], for the rooms that one new listener's user is in. Nothing for one that was swept away.
    pub fn follow_all(&self, listener: &Arc<Listener>, rooms: &[i64]) {
        let mut listeners = self.shared.listeners.lock();
        for room in rooms {
            listeners.add(*room, listener);
        }
    }

    /// `user` is no longer in `room`.
    pub fn unfollow(&self, user: i64, room: i64) {
        let mut listeners = self.shared.listeners.lock();
        listeners.remove(room, |listener| listener.user() == user);
        drop(listeners);
        self.exit(user, room);
    }

    /// A listener of its own for who follows one room without being in it, until the [`Watch`] is dropped.
    #[must_use]
    pub fn watch(&self, room: i64, now_ms: i64) -> Watch {
        // No user and no device of the store has a number below zero.
        let number = self.shared.watches.fetch_sub(1, Ordering::Relaxed);
        let (listener, _) = self.listen(number, number, now_ms);
        self.follow_all(&listener, &[room]);
        listener.ready(self.head());
        Watch {
            bus: self.clone(),
            listener,
        }
    }

    /// Forgets listeners that nobody has used since `before_ms` and on which nobody waits.
    pub fn sweep(&self, before_ms: i64) {
        let mut listeners = self.shared.listeners.lock();
        let idle: Vec<Arc<Listener>> = listeners
            .devices
            .values()
            .filter(|listener| listener.is_idle(before_ms))
            .cloned()
            .collect();
        listeners.forget(&idle);
    }

    /// How many listeners there are.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.shared.listeners.lock().devices.len()
    }
}

impl Shared {
    /// Lets readers see what has changed.
    fn publish(&self, fleeting: &Fleeting) {
        self.count.store(fleeting.count, Ordering::Release);
    }
}

impl Listeners {
    /// Notes the change with each listener that it concerns; those are returned, each once.
    fn note(&self, position: i64, topics: &[Topic]) -> Vec<Arc<Listener>> {
        let mut concerned: HashMap<i64, Arc<Listener>, FxBuildHasher> = HashMap::default();
        for topic in topics {
            let listeners = match topic {
                Topic::Room(room) | Topic::Receipts(room) | Topic::Devices(room) => {
                    self.rooms.get(room).map_or(&[][..], Vec::as_slice)
                }
                Topic::User(user) | Topic::Reading { user, .. } => {
                    self.users.get(user).map_or(&[][..], Vec::as_slice)
                }
                Topic::Device(device) | Topic::ToDevice(device) => self
                    .devices
                    .get(device)
                    .map_or(&[][..], std::slice::from_ref),
            };
            for listener in listeners {
                listener.note(position, topic.remembered());
                concerned
                    .entry(listener.device())
                    .or_insert_with(|| Arc::clone(listener));
            }
        }
        let mut concerned: Vec<Arc<Listener>> = concerned.into_values().collect();
        // A fixed order of waking keeps simulations repeatable.
        concerned.sort_unstable_by_key(|listener| listener.device());
        concerned
    }

    fn add(&mut self, room: i64, listener: &Arc<Listener>) {
        if listener.follows(room) {
            let followers = self.rooms.entry(room).or_default();
            followers.push(Arc::clone(listener));
        }
    }

    fn remove(&mut self, room: i64, which: impl Fn(&Listener) -> bool) {
        let Some(followers) = self.rooms.get_mut(&room) else {
            return;
        };
        followers.retain(|listener| {
            let gone = which(listener);
            if gone {
                listener.unfollows(room);
            }
            !gone
        });
        if followers.is_empty() {
            self.rooms.remove(&room);
        }
    }

    /// Goes through each room once, however many of its listeners are gone.
    fn forget(&mut self, gone: &[Arc<Listener>]) {
        let mut rooms = FxHashSet::default();
        for listener in gone {
            self.devices.remove(&listener.device());
            if let Some(of_user) = self.users.get_mut(&listener.user()) {
                of_user.retain(|other| other.device() != listener.device());
                if of_user.is_empty() {
                    self.users.remove(&listener.user());
                }
            }
            rooms.extend(listener.followed());
            // A reader that still holds it must ask for a new one.
            listener.retire();
        }
        for room in rooms {
            self.remove(room, Listener::is_retired);
        }
    }
}
