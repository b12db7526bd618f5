//! What is told and not stored: who is typing, and who is there.
//!
//! It has no position. Each change takes the next number of a count that begins with the process; the *boot* number says
//! of which process. A reader that holds a count of another boot, or one from so long ago that it is forgotten, is told
//! what is so now.

use std::collections::BTreeMap;

use crate::outbox::Outbox;
use crate::presence::Presences;
use crate::typing::Typing;

/// The state behind the bus's lock.
#[derive(Debug, Default)]
pub(crate) struct Fleeting {
    pub(crate) typing: Typing,
    pub(crate) presences: Presences,
    pub(crate) outbox: Outbox,
    /// The last number given out.
    pub(crate) count: i64,
}

impl Fleeting {
    /// The number of the next change.
    pub(crate) fn next(&mut self) -> i64 {
        self.count += 1;
        self.count
    }
}

/// The last change of each thing (a room, a user), in the order of the changes.
#[derive(Debug, Default)]
pub(crate) struct Log {
    things: BTreeMap<i64, i64>,
    /// Changes up to this number may be missing.
    forgotten: i64,
}

impl Log {
    /// `thing`, whose last change had the number `before`, changed again.
    pub(crate) fn note(&mut self, thing: i64, before: i64, count: i64) {
        self.things.remove(&before);
        self.things.insert(count, thing);
    }

    /// What changed after `since`; `None` when that isn't known any longer.
    pub(crate) fn after(&self, since: i64) -> Option<impl Iterator<Item = i64> + '_> {
        (since >= self.forgotten).then(|| self.things.range(since + 1..).map(|(_, thing)| *thing))
    }

    /// Forgets the oldest `most` of the things for which `may_go` says so; which.
    pub(crate) fn forget(&mut self, most: usize, may_go: impl Fn(i64) -> bool) -> Vec<i64> {
        let found = self.things.iter().filter(|(_, thing)| may_go(**thing));
        let found: Vec<(i64, i64)> = found
            .take(most)
            .map(|(count, thing)| (*count, *thing))
            .collect();
        for (count, _) in &found {
            self.things.remove(count);
            self.forgotten = self.forgotten.max(*count);
        }
        found.into_iter().map(|(_, thing)| thing).collect()
    }
}
