//! The count of commits, by which a cache tells what a reader cannot have seen yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the batches that were committed through one open database.
///
/// The writer counts a batch after its COMMIT and before its hooks, so a hook reads here the number of its own batch.
/// A reader takes the count ([`Tx::began`](crate::Tx::began)) before its BEGIN. If it took n or more, COMMIT n came
/// before its BEGIN, hence before its snapshot: it sees what batch n wrote. If it took less, it may not. (A commit
/// that it sees although it took less costs a cache one entry, and never its truth.)
#[derive(Debug, Clone, Default)]
pub struct Commits {
    count: Arc<AtomicU64>,
}

impl Commits {
    /// How many there were so far; within a hook ([`Tx::after_commit`](crate::Tx::after_commit)): the number of its
    /// own batch.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}
