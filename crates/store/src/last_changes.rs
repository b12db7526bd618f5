//! When what a cache holds was changed last: so that no reader puts in what it read before a change and hands in late.

use std::sync::atomic::{AtomicU64, Ordering};

use starling_db::{Commits, Tx};

/// How many commits, each the last one of its stripe of keys, tell readers from writers where changes are frequent.
pub(crate) const STRIPES: usize = 1024;

/// The commit of the last change, for each stripe of a cache's keys.
///
/// A transaction that began when a commit was counted sees it ([`Commits`]). One that began earlier may not, however late
/// it reads: its snapshot is as old as its first statement. If the hook of the commit has not run yet, it will.
#[derive(Debug)]
pub(crate) struct LastChanges {
    commits: Commits,
    stripes: Vec<AtomicU64>,
}

impl LastChanges {
    /// One for all keys, or [`STRIPES`].
    pub(crate) fn new(stripes: usize, commits: Commits) -> Self {
        Self {
            commits,
            stripes: (0..stripes).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// What belongs to `key` has changed: from the hook of the commit, before the cache is changed.
    pub(crate) fn note(&self, key: i64) {
        if let Some(stripe) = self.stripe(key) {
            stripe.store(self.commits.count(), Ordering::SeqCst);
        }
    }

    /// Whether what `tx` reads of `key` is as after the last change. Never for one that writes.
    pub(crate) fn are_seen_by(&self, tx: &Tx<'_>, key: i64) -> bool {
        let changed = self
            .stripe(key)
            .map_or(0, |stripe| stripe.load(Ordering::SeqCst));
        tx.began().is_some_and(|began| began >= changed)
    }

    /// Puts in what `tx` has read of `key`, unless it may have changed since.
    pub(crate) fn put_read(
        &self,
        tx: &Tx<'_>,
        key: i64,
        insert: impl FnOnce(),
        remove: impl FnOnce(),
    ) {
        if !self.are_seen_by(tx, key) {
            return;
        }
        insert();
        // A hook between the check and the insertion: take it out again.
        if !self.are_seen_by(tx, key) {
            remove();
        }
    }

    fn stripe(&self, key: i64) -> Option<&AtomicU64> {
        let key = usize::try_from(key.unsigned_abs()).unwrap_or(0);
        self.stripes.get(key % self.stripes.len().max(1))
    }
}
