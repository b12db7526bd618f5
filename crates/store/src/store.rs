//! The store as the domain sees it: the database, and the caches over it.

use std::sync::Arc;

use starling_db::Db;
use tokio::sync::Notify;

use crate::cache::{CacheSizes, EventCache};
use crate::erased::Erased;
use crate::ignored::IgnoredLists;
use crate::names::Names;
use crate::one_time_keys::KeyCountsCache;
use crate::outgoing::OutgoingNotes;
use crate::push_rules::RulesCache;
use crate::rooms::RoomCache;
use crate::timeline::TimelineCache;
use crate::unread::cache::UnreadCache;

/// The database and what is kept in memory of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    db: Db,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Arc<Names>,
    events: EventCache,
    rooms: RoomCache,
    timelines: TimelineCache,
    erased: Erased,
    ignored: IgnoredLists,
    rulesets: RulesCache,
    unread: UnreadCache,
    key_counts: KeyCountsCache,
    jobs: Notify,
    outgoing: OutgoingNotes,
    sizes: CacheSizes,
    epoch: i64,
}

impl Store {
    /// The store over an open database whose log has `epoch`. `sizes` bounds the memory of all caches together.
    #[must_use]
    pub fn new(db: Db, epoch: i64, sizes: CacheSizes) -> Self {
        let shared = Shared {
            names: Arc::new(Names::new(sizes.names())),
            events: EventCache::new(sizes.events(), db.commits().clone()),
            rooms: RoomCache::new(sizes.rooms(), db.commits().clone()),
            timelines: TimelineCache::new(sizes.timelines()),
            erased: Erased::new(db.commits().clone()),
            ignored: IgnoredLists::new(sizes.ignored(), db.commits().clone()),
            rulesets: RulesCache::new(sizes.rulesets(), db.commits().clone()),
            unread: UnreadCache::new(sizes.unread(), db.commits().clone()),
            key_counts: KeyCountsCache::new(db.commits().clone()),
            jobs: Notify::new(),
            outgoing: OutgoingNotes::default(),
            sizes,
            epoch,
        };
        Self {
            db,
            shared: Arc::new(shared),
        }
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// How the memory for caches is shared out.
    #[must_use]
    pub fn cache_sizes(&self) -> CacheSizes {
        self.shared.sizes
    }

    /// Names and their integers.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        &self.shared.names
    }

    /// Events by their integers, within the byte budget.
    #[must_use]
    pub fn events(&self) -> &EventCache {
        &self.shared.events
    }

    /// Committed snapshots of rooms.
    #[must_use]
    pub fn rooms(&self) -> &RoomCache {
        &self.shared.rooms
    }

    /// The last events of each room's timeline.
    #[must_use]
    pub fn timelines(&self) -> &TimelineCache {
        &self.shared.timelines
    }

    /// Users who want to be forgotten.
    #[must_use]
    pub fn erased(&self) -> &Erased {
        &self.shared.erased
    }

    /// Whom users ignore.
    pub(crate) fn ignored_lists(&self) -> &IgnoredLists {
        &self.shared.ignored
    }

    /// Users' push rules.
    pub(crate) fn rulesets(&self) -> &RulesCache {
        &self.shared.rulesets
    }

    /// What users have not read.
    pub(crate) fn unread_cache(&self) -> &UnreadCache {
        &self.shared.unread
    }

    /// How many keys devices have.
    pub(crate) fn key_counts_cache(&self) -> &KeyCountsCache {
        &self.shared.key_counts
    }

    /// Told after the commit of a note of something to be done (see [`crate::jobs`]).
    #[must_use]
    pub fn jobs(&self) -> &Notify {
        &self.shared.jobs
    }

    /// Told after the commit of what goes to other servers (see [`crate::outgoing`]).
    #[must_use]
    pub fn outgoing(&self) -> &OutgoingNotes {
        &self.shared.outgoing
    }

    /// The epoch of the log: it changes when a copy of the database was put back.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.shared.epoch
    }
}
