//! Work of many milliseconds (hashing a password) runs off the threads that serve requests, a bounded number at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Runs CPU-heavy closures: on blocking threads behind a bound, or in place in a simulation.
#[derive(Clone, Debug)]
pub struct Cpu {
    threads: Option<Threads>,
}

#[derive(Clone, Debug)]
struct Threads {
    /// For each closure that runs.
    permits: Arc<Semaphore>,
    /// For each closure that runs or waits.
    places: Arc<Semaphore>,
}

/// Why a closure has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuError {
    /// So many wait already that it was not begun.
    Busy,
    /// It panicked, or the program is stopping.
    Ended,
}

impl std::fmt::Display for CpuError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Busy => "too much CPU-heavy work is waiting",
            Self::Ended => "CPU-heavy work did not finish",
        })
    }
}

impl std::error::Error for CpuError {}

impl Cpu {
    /// At most `parallel` closures at once, each on a thread of its own; `waiting` more wait for one.
    #[must_use]
    pub fn threads(parallel: usize, waiting: usize) -> Self {
        let parallel = parallel.max(1);
        Self {
            threads: Some(Threads {
                permits: Arc::new(Semaphore::new(parallel)),
                places: Arc::new(Semaphore::new(parallel.saturating_add(waiting))),
            }),
        }
    }

    /// Runs each closure in place: deterministic, for simulations.
    #[must_use]
    pub fn in_place() -> Self {
        Self { threads: None }
    }

    /// Runs `work` and waits for its result, without holding up other tasks.
    ///
    /// # Errors
    /// [`CpuError`]: why there is no result.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CpuError> {
        let Some(threads) = &self.threads else {
            return Ok(work());
        };
        let place = Arc::clone(&threads.places).try_acquire_owned();
        let place = place.map_err(|_| CpuError::Busy)?;
        let permit = Arc::clone(&threads.permits).acquire_owned().await;
        let permit = permit.map_err(|_| CpuError::Ended)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((permit, place));
            result
        });
        done.await.map_err(|_| CpuError::Ended)
    }
}
