//! The caches' budget, and the cache of events.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use starling_db::{Commits, Tx};

use crate::events::Event;
use crate::last_changes::LastChanges;
use crate::numbers::EventNum;

/// How the bytes for all caches together are shared out.
#[derive(Debug, Clone, Copy)]
pub struct CacheSizes {
    bytes: u64,
}

impl CacheSizes {
    /// At most about this many bytes in all.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    /// Entries for each direction of each kind of name (about 150 bytes each, seven maps).
    pub(crate) fn names(self) -> usize {
        usize::try_from(self.bytes / 10 / 1050)
            .unwrap_or(usize::MAX)
            .max(64)
    }

    /// Bytes for events.
    pub(crate) fn events(self) -> u64 {
        self.bytes * 40 / 100
    }

    /// Bytes for the filters that clients have stored, as they are when parsed.
    #[must_use]
    pub fn filters(self) -> u64 {
        self.bytes * 2 / 100
    }

    /// Bytes for users' push rules.
    pub(crate) fn rulesets(self) -> u64 {
        self.bytes * 2 / 100
    }

    /// Bytes for what users have not read.
    pub(crate) fn unread(self) -> u64 {
        self.bytes * 2 / 100
    }

    /// Bytes for which members clients were told of.
    #[must_use]
    pub fn sent_members(self) -> u64 {
        self.bytes * 2 / 100
    }

    /// Bytes for the lists of ignored users.
    pub(crate) fn ignored(self) -> u64 {
        self.bytes / 100
    }

    /// Bytes for which servers are in which rooms.
    #[must_use]
    pub fn servers(self) -> u64 {
        self.bytes / 100
    }

    /// Bytes for rooms' snapshots.
    pub(crate) fn rooms(self) -> u64 {
        self.bytes * 3 / 10
    }

    /// Rooms whose last events are kept at hand (they are shared with the cache of events where that holds them).
    pub(crate) fn timelines(self) -> usize {
        usize::try_from(self.bytes / 10 / 4096)
            .unwrap_or(usize::MAX)
            .max(64)
    }
}

/// Events by number.
#[derive(Debug)]
pub struct EventCache {
    events: Cache<EventNum, Arc<Event>, ByBytes>,
    redactions: LastChanges,
}

#[derive(Debug, Clone)]
struct ByBytes;

/// What an event costs beside its bytes: fields, identifiers, the cache's own.
const OVERHEAD: u64 = 700;

impl Weighter<EventNum, Arc<Event>> for ByBytes {
    fn weight(&self, _number: &EventNum, event: &Arc<Event>) -> u64 {
        event.pdu.json().len() as u64 + OVERHEAD
    }
}

impl EventCache {
    pub(crate) fn new(bytes: u64, commits: Commits) -> Self {
        let estimate = usize::try_from(bytes / 1500).unwrap_or(usize::MAX).max(16);
        Self {
            events: Cache::with_weighter(estimate, bytes, ByBytes),
            redactions: LastChanges::new(1, commits),
        }
    }

    /// The event, if it is here.
    #[must_use]
    pub fn get(&self, number: EventNum) -> Option<Arc<Event>> {
        self.events.get(&number)
    }

    /// Puts in an event that was just committed.
    pub fn insert(&self, event: Arc<Event>) {
        self.events.insert(event.num, event);
    }

    /// Puts in the pruned form of an event whose redaction was just committed: from its hook.
    pub fn replace(&self, pruned: Arc<Event>) {
        self.redactions.note(0);
        self.events.insert(pruned.num, pruned);
    }

    /// Puts in an event that `tx` has read, unless it may have seen it as it was before a redaction.
    pub fn insert_read(&self, tx: &Tx<'_>, event: &Arc<Event>) {
        let insert = || self.events.insert(event.num, Arc::clone(event));
        let remove = || drop(self.events.remove(&event.num));
        self.redactions.put_read(tx, 0, insert, remove);
    }
}
