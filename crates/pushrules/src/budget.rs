//! How much work matching may take.

use std::cell::Cell;

/// Steps of work that are left. When they didn't suffice, nothing matches any more: patterns and texts come from anybody,
/// and the worst of them together would take as long as they like.
#[derive(Debug)]
pub struct Budget {
    left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl Budget {
    /// What all of one event's evaluations may take together: some milliseconds.
    pub const OF_EVENT: usize = 2_000_000;

    /// A budget of so many steps, each about a comparison of two characters.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self {
            left: Cell::new(steps),
            is_spent: Cell::new(false),
        }
    }

    /// The steps that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.get()
    }

    /// Whether more was asked for than was left: what was evaluated with it since doesn't hold.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.is_spent.get()
    }

    /// Takes `steps` from it; false when there aren't as many, from then on always.
    pub(crate) fn take(&self, steps: usize) -> bool {
        let rest = self.left.get().checked_sub(steps);
        self.left.set(rest.unwrap_or(0));
        self.is_spent.set(self.is_spent.get() || rest.is_none());
        !self.is_spent.get()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::OF_EVENT)
    }
}
