//! How much work matching may take.

use std::cell::Cell;

/// Steps of work that are left. When none are, nothing matches any more: patterns and texts come from anybody, and the
/// worst of them together would take as long as they like.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Budget {
    /// What all of one event's evaluations may take together: some milliseconds.
    pub const OF_EVENT: usize = 2_000_000;

    /// A budget of so many steps, each about a comparison of two characters.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self(Cell::new(steps))
    }

    /// Takes `steps` from it; false when there aren't as many.
    pub(crate) fn take(&self, steps: usize) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(steps));
        left >= steps
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::OF_EVENT)
    }
}
