//! Filters that clients have uploaded, kept parsed: every `/sync` names one.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use starling_store::UserNum;
use starling_store::filters::filter_read;

use crate::Sync;
use crate::filter::{Filter, FilterError};

/// Why there is no such filter.
#[derive(Debug, thiserror::Error)]
pub enum StoredFilterError {
    /// What is stored is no filter.
    #[error(transparent)]
    Malformed(#[from] FilterError),
    /// The database cannot be read.
    #[error(transparent)]
    Db(#[from] starling_db::Error),
}

/// Parsed filters by user and number. One never changes, and its number is never given out again.
#[derive(Clone)]
pub(crate) struct StoredFilters(Arc<Cache<(UserNum, i64), Parsed, ByBytes>>);

#[derive(Clone)]
struct Parsed {
    filter: Arc<Filter>,
    /// Of its definition.
    bytes: usize,
}

#[derive(Clone)]
struct ByBytes;

/// What a filter takes beside its lists: fields, and the cache's own.
const OVERHEAD: u64 = 1000;
/// How many bytes an entry of a list takes at most for each of its definition.
const BYTES_PER_BYTE: u64 = 16;

impl Weighter<(UserNum, i64), Parsed> for ByBytes {
    fn weight(&self, _key: &(UserNum, i64), parsed: &Parsed) -> u64 {
        OVERHEAD + BYTES_PER_BYTE * parsed.bytes as u64
    }
}

impl StoredFilters {
    pub(crate) fn new(bytes: u64) -> Self {
        let estimate = usize::try_from(bytes / (4 * OVERHEAD)).unwrap_or(usize::MAX);
        Self(Arc::new(Cache::with_weighter(
            estimate.max(16),
            bytes,
            ByBytes,
        )))
    }
}

impl fmt::Debug for StoredFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredFilters").finish_non_exhaustive()
    }
}

impl Sync {
    /// The filter that `user` has stored under this number, if there is one.
    ///
    /// # Errors
    /// When it is none, or the database cannot be read.
    pub async fn stored_filter(
        &self,
        user: UserNum,
        number: i64,
    ) -> Result<Option<Arc<Filter>>, StoredFilterError> {
        let cache = &self.stored_filters.0;
        if let Some(parsed) = cache.get(&(user, number)) {
            return Ok(Some(parsed.filter));
        }
        let db = self.store.db();
        let definition = db.read("sync_filter", move |tx| filter_read(tx, user, number));
        let Some(definition) = definition.await? else {
            return Ok(None);
        };
        let filter = Arc::new(Filter::parse(&definition)?);
        let parsed = Parsed {
            filter: filter.clone(),
            bytes: definition.len(),
        };
        cache.insert((user, number), parsed);
        Ok(Some(filter))
    }
}
