//! What one server has to get.

use std::collections::BTreeSet;

use super::edus::Edus;
use super::transaction::Transaction;

/// A server that has to get more events than this gets them from the database.
pub(super) const MOST_KNOWN: usize = 1_000;

/// What one server has to get.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) events: Events,
    pub(super) edus: Edus,
    /// Whether messages to devices may wait in the database.
    pub(super) to_device: bool,
    pub(super) turn: Turn,
    /// Attempts in a row that have failed.
    pub(super) failures: u32,
    /// What got no answer. It is sent again once, as it was, since only the answer may have been lost; after that the
    /// server is down, and nothing is kept for it.
    pub(super) unanswered: Option<Box<Transaction>>,
}

#[derive(Debug)]
pub(super) enum Events {
    /// All that it has to get.
    Known(BTreeSet<i64>),
    /// Those that it missed.
    Missed(Missed),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Missed {
    /// It has all up to here.
    pub(super) after: i64,
    /// It was told of receipts up to here.
    pub(super) receipts_after: i64,
    /// The last event that is known to go to it.
    pub(super) newest: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is nothing to send.
    Idle,
    /// It is in `ready`.
    Ready,
    /// A transaction is under way.
    Sending {
        /// The last event that was known when it began.
        newest: i64,
        /// The first receipt in it.
        first_receipt: Option<i64>,
        /// Whether it lagged behind.
        is_behind: bool,
    },
    /// It is in `retries`.
    Waiting { until_ms: i64 },
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            events: Events::Known(BTreeSet::new()),
            edus: Edus::default(),
            to_device: false,
            turn: Turn::Idle,
            failures: 0,
            unanswered: None,
        }
    }

    pub(super) fn newest(&self) -> i64 {
        match &self.events {
            Events::Known(known) => known.last().copied().unwrap_or_default(),
            Events::Missed(missed) => missed.newest,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let has_all = matches!(&self.events, Events::Known(known) if known.is_empty());
        has_all && self.edus.is_empty() && !self.to_device
    }

    /// From now on its events come from the database, and what it missed of receipts, from the first on that it didn't get.
    pub(super) fn fall_behind(&mut self, upto: i64, first_receipt: Option<i64>) {
        let receipts_after = first_receipt.map_or(i64::MAX, |first| first - 1);
        match &mut self.events {
            Events::Known(known) => {
                let after = known.first().map_or(upto, |first| first - 1);
                self.events = Events::Missed(Missed {
                    after,
                    receipts_after: receipts_after.min(upto),
                    newest: known.last().copied().unwrap_or(upto),
                });
            }
            Events::Missed(missed) => {
                missed.receipts_after = missed.receipts_after.min(receipts_after);
            }
        }
    }

    pub(super) fn add(&mut self, positions: BTreeSet<i64>, upto: i64) {
        match &mut self.events {
            Events::Known(known) => known.extend(positions),
            Events::Missed(missed) => {
                missed.newest = missed
                    .newest
                    .max(positions.last().copied().unwrap_or_default());
            }
        }
        if matches!(&self.events, Events::Known(known) if known.len() > MOST_KNOWN) {
            self.fall_behind(upto, None);
        }
    }

    pub(super) fn has_got(&mut self, upto: Option<i64>, is_all: bool, newest_then: i64) {
        self.failures = 0;
        self.unanswered = None;
        match &mut self.events {
            Events::Known(known) => {
                if let Some(upto) = upto {
                    *known = known.split_off(&(upto + 1));
                }
            }
            Events::Missed(missed) => {
                missed.after = missed.after.max(upto.unwrap_or_default());
                if is_all {
                    missed.after = missed.after.max(newest_then);
                    missed.receipts_after = missed.receipts_after.max(missed.after);
                }
                if is_all && missed.newest <= missed.after {
                    self.events = Events::Known(BTreeSet::new());
                }
            }
        }
    }
}
