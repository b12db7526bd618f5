//! One device's ear: the last changes that concerned it, and waiting for the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use tokio::sync::Notify;

use crate::Topic;

/// Of how many topics a listener remembers the last change. A reader that is further behind asks the database.
const REMEMBERED: usize = 256;

/// The last changes that concerned a device.
#[derive(Debug)]
pub struct Listener {
    user: i64,
    device: i64,
    changes: Mutex<Changes>,
    notify: Notify,
    waiting: AtomicUsize,
    last_used_ms: AtomicI64,
    /// The last change of what is not stored that woke it up.
    fleeting: AtomicI64,
}

#[derive(Debug)]
struct Changes {
    /// All changes after this position are in `recent`; `i64::MAX` until the listener is ready, and once it is retired.
    complete_after: i64,
    /// The last change of each topic, in order.
    recent: VecDeque<(i64, Topic)>,
    rooms: FxHashSet<i64>,
    /// The bus has forgotten it: no change reaches it any more, whatever its reader does.
    retired: bool,
}

impl Listener {
    pub(crate) fn new(user: i64, device: i64, now_ms: i64) -> Self {
        let changes = Changes {
            complete_after: i64::MAX,
            recent: VecDeque::new(),
            rooms: FxHashSet::default(),
            retired: false,
        };
        Self {
            user,
            device,
            changes: Mutex::new(changes),
            notify: Notify::new(),
            waiting: AtomicUsize::new(0),
            last_used_ms: AtomicI64::new(now_ms),
            fleeting: AtomicI64::new(0),
        }
    }

    pub(crate) fn user(&self) -> i64 {
        self.user
    }

    pub(crate) fn device(&self) -> i64 {
        self.device
    }

    /// It follows all of its rooms: changes after `head`, read after that, are all noted. One that was swept away stays
    /// as it is: it remembers nothing.
    pub fn ready(&self, head: i64) {
        let mut changes = self.changes.lock();
        if !changes.retired {
            changes.complete_after = head;
        }
    }

    /// What changed after `since` and concerns this device, in order, each topic once with its last position; `None`
    /// when it doesn't remember that far back.
    #[must_use]
    pub fn changes_since(&self, since: i64) -> Option<Vec<(i64, Topic)>> {
        let changes = self.changes.lock();
        if since < changes.complete_after {
            return None;
        }
        let recent = changes.recent.iter();
        let found = recent.skip_while(|(position, _)| *position <= since);
        Some(found.copied().collect())
    }

    /// Waits until something after `since` concerns this device, or it doesn't remember that far back. Returns at once
    /// if that is so already.
    pub async fn changed(&self, since: i64) {
        self.changed_beside(since, i64::MAX).await;
    }

    /// As [`Listener::changed`], and ends also when something that is not stored concerns this device, after `count`
    /// changes of that.
    pub async fn changed_beside(&self, since: i64, count: i64) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _guard = Waiting(&self.waiting);
        loop {
            let notified = self.notify.notified();
            let mut notified = std::pin::pin!(notified);
            notified.as_mut().enable();
            if self.has_changed(since) || self.has_fleeting(count) {
                return;
            }
            notified.await;
        }
    }

    /// Whether something after `since` concerns this device, or might.
    #[must_use]
    pub fn has_changed(&self, since: i64) -> bool {
        let changes = self.changes.lock();
        since < changes.complete_after
            || changes
                .recent
                .back()
                .is_some_and(|(position, _)| *position > since)
    }

    /// Whether something that is not stored concerns this device, after `count` changes of that.
    #[must_use]
    pub fn has_fleeting(&self, count: i64) -> bool {
        self.fleeting.load(Ordering::Acquire) > count
    }

    /// Notes that it is in use, for the sweep.
    pub fn used(&self, now_ms: i64) {
        self.last_used_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(crate) fn is_idle(&self, before_ms: i64) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
            && self.last_used_ms.load(Ordering::Relaxed) < before_ms
    }

    pub(crate) fn note(&self, position: i64, topic: Topic) {
        let mut changes = self.changes.lock();
        let recent = &mut changes.recent;
        if let Some(at) = recent.iter().rposition(|(_, other)| *other == topic) {
            recent.remove(at);
        } else if recent.len() >= REMEMBERED
            && let Some((dropped, _)) = recent.pop_front()
        {
            // Before it is ready (`i64::MAX`) the maximum stays as it is.
            changes.complete_after = changes.complete_after.max(dropped);
        }
        changes.recent.push_back((position, topic));
    }

    /// Notes a change of what is not stored; false when it was noted already.
    pub(crate) fn note_fleeting(&self, count: i64) -> bool {
        self.fleeting.fetch_max(count, Ordering::AcqRel) < count
    }

    /// Those of `rooms` that it follows.
    pub(crate) fn those_followed(&self, mut rooms: Vec<i64>) -> Vec<i64> {
        if !rooms.is_empty() {
            let changes = self.changes.lock();
            rooms.retain(|room| changes.rooms.contains(room));
        }
        rooms
    }

    /// Those of `users` who are in a room that it follows.
    pub(crate) fn those_beside<'a>(
        &self,
        users: impl Iterator<Item = (i64, &'a FxHashSet<i64>)>,
    ) -> FxHashSet<i64> {
        let changes = self.changes.lock();
        let beside = users.filter(|(_, rooms)| !changes.rooms.is_disjoint(rooms));
        beside.map(|(user, _)| user).collect()
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_waiters();
    }

    /// Notes that it follows `room`; false when it did already, or is retired.
    pub(crate) fn follows(&self, room: i64) -> bool {
        let mut changes = self.changes.lock();
        !changes.retired && changes.rooms.insert(room)
    }

    pub(crate) fn unfollows(&self, room: i64) {
        self.changes.lock().rooms.remove(&room);
    }

    pub(crate) fn followed(&self) -> Vec<i64> {
        self.changes.lock().rooms.iter().copied().collect()
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.changes.lock().retired
    }

    pub(crate) fn retire(&self) {
        let mut changes = self.changes.lock();
        changes.retired = true;
        changes.complete_after = i64::MAX;
        drop(changes);
        self.wake();
    }
}

/// Counts a waiting reader for as long as it waits, also when its request goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
