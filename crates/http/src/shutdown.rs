//! The word that the server stops, for everybody who waits for something.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells all its clones that the server stops: listeners stop accepting, long polls answer at once with what they have.
#[derive(Debug, Clone)]
pub struct Shutdown {
    begun: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// Not begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begun: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Begins it. Doing so again changes nothing.
    pub fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        // This cannot fail: we hold the sender.
        self.begun.subscribe().wait_for(|begun| *begun).await.ok();
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}
