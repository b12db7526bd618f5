//! Trying one server after another.

use std::time::Duration;

use starling_runtime::Clock;
use tokio::time::Instant;

use crate::error::SendError;
use crate::remote::RemoteError;

/// After this no further server is tried: a client waits for it.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came of the servers that were tried so far.
#[derive(Debug)]
pub(super) struct Attempts {
    clock: Clock,
    begun: Instant,
    told: Option<SendError>,
}

impl Attempts {
    pub(super) fn begin(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            begun: clock.monotonic(),
            told: None,
        }
    }

    /// Whether no other is to be tried.
    pub(super) fn are_over(&self) -> bool {
        self.clock.monotonic() - self.begun > PATIENCE
    }

    /// One was tried in vain.
    ///
    /// # Errors
    /// `error`, when it makes no sense to try another.
    pub(super) fn failed(&mut self, error: SendError) -> Result<(), SendError> {
        let goes_on = match &error {
            SendError::Remote(error) => !error.is_final(),
            // Also one that the server may have made up.
            SendError::IncompatibleVersion(_) => true,
            _ => false,
        };
        if !goes_on {
            return Err(error);
        }
        tracing::debug!(%error, "a server was tried in vain");
        let is_better = match &self.told {
            None => true,
            Some(told) => says_why(&error) && !says_why(told),
        };
        if is_better {
            self.told = Some(error);
        }
        Ok(())
    }

    /// What to tell, after all were tried.
    pub(super) fn told(self) -> SendError {
        self.told.unwrap_or(SendError::UnknownRoom)
    }
}

/// Whether the error says why the user can't come in, rather than that a server couldn't be asked.
fn says_why(error: &SendError) -> bool {
    matches!(
        error,
        SendError::IncompatibleVersion(_) | SendError::Remote(RemoteError::Refused { .. })
    )
}
