//! What is told of users and not kept in a room's history: receipts, typing, presence.
//!
//! * [`Ephemeral::mark_read`] sets receipts and the fully-read marker; they are stored.
//!
//! What clients are told of it is written by `sync`: receipts from the store.

mod receipts;

use std::sync::Arc;

use starling_bus::Bus;
use starling_db::{Error, Tx, Write};
use starling_runtime::Clock;
use starling_store::Store;
use starling_store::receipts::waiting_receipts_sweep;

pub use receipts::{Mark, Marker, ReceiptError};
pub use starling_store::receipts::{ReceiptKey, ReceiptKind, ReceiptThread};

/// What [`Ephemeral`] works with.
#[derive(Debug)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Hears of every change.
    pub bus: Bus,
    /// Tells the time.
    pub clock: Clock,
}

/// Receipts, typing and presence of this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ephemeral {
    parts: Arc<Parts>,
}

impl Ephemeral {
    /// Puts the domain together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    fn store(&self) -> &Store {
        &self.parts.store
    }

    fn now_ms(&self) -> i64 {
        self.parts.clock.now_ms()
    }

    /// Forgets at most `most` receipts that have waited for their event since before `before_ms`; how many it forgot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_waiting_receipts(&self, before_ms: i64, most: i64) -> Result<u64, Error> {
        let write = Write::new("sweep_waiting_receipts").relaxed();
        let sweep = move |tx: &mut Tx<'_>| waiting_receipts_sweep(tx, before_ms, most);
        self.store().db().write(write, sweep).await
    }
}
