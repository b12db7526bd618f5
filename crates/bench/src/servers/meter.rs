//! What one round measures.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::target::Target;
use crate::timing;

/// What was done in one round, and what it took.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Round {
    /// How many operations.
    pub operations: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// CPU time of the server and its database, in seconds, where it is known.
    pub cpu_seconds: Option<f64>,
    /// CPU time of the one thread that is all clients, in seconds: where it is near `seconds`, the clients are the limit.
    pub client_cpu_seconds: f64,
    /// How long the operation in the middle took, in milliseconds.
    pub median_ms: Option<f64>,
    /// How long all but a hundredth took at most, in milliseconds; not of fewer than a hundred.
    pub p99_ms: Option<f64>,
}

impl Round {
    /// Operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        as_number(self.operations) / self.seconds
    }

    /// How much of the time the one thread of the clients worked, in per cent.
    #[must_use]
    pub fn client_busy(&self) -> f64 {
        self.client_cpu_seconds * 100.0 / self.seconds
    }

    /// CPU time per operation, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> Option<f64> {
        (self.operations > 0).then_some(self.cpu_seconds? * 1e6 / as_number(self.operations))
    }
}

/// Measures one round.
#[derive(Debug)]
pub struct Meter<'a> {
    target: &'a Target,
    begun: Instant,
    cpu: Option<Duration>,
    client_cpu: Duration,
}

impl<'a> Meter<'a> {
    /// Begins.
    #[must_use]
    pub fn start(target: &'a Target) -> Self {
        Self {
            target,
            cpu: target.cpu_time(),
            client_cpu: timing::cpu_time(),
            begun: Instant::now(),
        }
    }

    /// Ends, after `operations`, of which each took as long as `latencies` say.
    #[must_use]
    pub fn stop(self, operations: u64, mut latencies: Vec<Duration>) -> Round {
        let seconds = self.begun.elapsed().as_secs_f64();
        let cpu = self.target.cpu_time().zip(self.cpu);
        latencies.sort_unstable();
        let count = latencies.len();
        let at = |per_cent: usize| {
            let rank = (count * per_cent).div_ceil(100).checked_sub(1)?;
            Some(latencies.get(rank)?.as_secs_f64() * 1e3)
        };
        Round {
            operations,
            seconds,
            cpu_seconds: cpu.map(|(after, before)| after.saturating_sub(before).as_secs_f64()),
            client_cpu_seconds: timing::cpu_time()
                .saturating_sub(self.client_cpu)
                .as_secs_f64(),
            median_ms: at(50),
            p99_ms: at(99).filter(|_| count >= 100),
        }
    }
}

/// As a floating-point number; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of what was done and of bytes, far below 2^53"
)]
#[must_use]
pub fn as_number(count: u64) -> f64 {
    count as f64
}
