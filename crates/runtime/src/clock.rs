//! The clock: the time of day in milliseconds, and a monotonic clock for durations.

use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time. In a simulation the time of day follows tokio's (paused) clock from a chosen start.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Simulated { start_ms: i64, started: Instant },
    Standing { at_ms: i64, at: Instant },
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System,
        }
    }

    /// A clock that reads `start_ms` (milliseconds since 1970) now and follows tokio's clock from here on
    /// (outside a runtime with a paused clock, time goes on by itself).
    #[must_use]
    pub fn simulated(start_ms: i64) -> Self {
        Self {
            source: Source::Simulated {
                start_ms,
                started: Instant::now(),
            },
        }
    }

    /// A clock that stands still at `at_ms`, however long anything takes.
    #[must_use]
    pub fn standing(at_ms: i64) -> Self {
        Self {
            source: Source::Standing {
                at_ms,
                at: Instant::now(),
            },
        }
    }

    /// The time of day: milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.source {
            Source::System => millis(system_time()),
            Source::Simulated { start_ms, started } => start_ms + millis(started.elapsed()),
            Source::Standing { at_ms, .. } => *at_ms,
        }
    }

    /// A point in time that only moves forward, for measuring durations.
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        match &self.source {
            Source::System | Source::Simulated { .. } => Instant::now(),
            Source::Standing { at, .. } => *at,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the system's clock"
)]
fn system_time() -> Duration {
    std::time::SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
