//! What is kept in memory of what users have not read: a message to a room then costs those who hear of it no query for
//! their counts.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use starling_db::{Commits, Tx};
use starling_pushrules::{Shape, Verdict};

use crate::last_changes::{LastChanges, STRIPES};
use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::store::Store;
use crate::unread::marks::Marks;
use crate::unread::totals::Totals;

/// An event that is decided by itself.
#[derive(Debug, Clone)]
pub(crate) struct Exception {
    pub(crate) thread: EventNum,
    pub(crate) position: i64,
    pub(crate) verdict: Verdict,
    pub(crate) shape: Option<Shape>,
    pub(crate) sender: UserNum,
    pub(crate) is_redacted: bool,
}

/// What is known of a user in a room, until they read on, write, or an event is an exception for them.
#[derive(Debug)]
pub(crate) struct Known {
    /// The place of their join.
    pub(crate) joined: i64,
    pub(crate) marks: Marks,
    /// The totals of the main timeline at its mark.
    pub(crate) read: Totals,
    /// Those after the marks, and perhaps some before.
    pub(crate) exceptions: Vec<Exception>,
}

/// What is known, by user and room.
#[derive(Debug)]
pub(crate) struct UnreadCache {
    known: Cache<(UserNum, RoomNum), Arc<Known>, ByContent>,
    changes: LastChanges,
}

#[derive(Debug, Clone)]
struct ByContent;

impl Weighter<(UserNum, RoomNum), Arc<Known>> for ByContent {
    fn weight(&self, _key: &(UserNum, RoomNum), known: &Arc<Known>) -> u64 {
        250 + known.exceptions.len() as u64 * 64 + known.marks.threads.len() as u64 * 120
    }
}

impl UnreadCache {
    pub(crate) fn new(bytes: u64, commits: Commits) -> Self {
        let estimate = usize::try_from(bytes / 300).unwrap_or(usize::MAX).max(16);
        Self {
            known: Cache::with_weighter(estimate, bytes, ByContent),
            changes: LastChanges::new(STRIPES, commits),
        }
    }

    pub(crate) fn get(&self, user: UserNum, room: RoomNum, joined: i64) -> Option<Arc<Known>> {
        let known = self.known.get(&(user, room))?;
        (known.joined == joined).then_some(known)
    }

    /// Forgets what was known: from the hook of a commit that changed it.
    pub(crate) fn changed(&self, user: UserNum, room: RoomNum) {
        self.changes.note(mixed(user, room));
        self.known.remove(&(user, room));
    }

    /// Puts in what `tx` has read, unless it may have changed since.
    pub(crate) fn insert_read(
        &self,
        tx: &Tx<'_>,
        (user, room): (UserNum, RoomNum),
        known: &Arc<Known>,
    ) {
        let insert = || self.known.insert((user, room), Arc::clone(known));
        let remove = || drop(self.known.remove(&(user, room)));
        self.changes.put_read(tx, mixed(user, room), insert, remove);
    }
}

/// One number of both.
fn mixed(user: UserNum, room: RoomNum) -> i64 {
    user.0.wrapping_mul(31).wrapping_add(room.0)
}

impl Store {
    /// After the commit, what was known of a user in a room is read again.
    pub(crate) fn unread_changed_after_commit(
        &self,
        tx: &mut Tx<'_>,
        user: UserNum,
        room: RoomNum,
    ) {
        let store = self.clone();
        tx.after_commit(move || store.unread_cache().changed(user, room));
    }
}
