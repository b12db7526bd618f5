//! Work of many milliseconds (hashing a password) runs off the threads that serve requests, a bounded number at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Runs CPU-heavy closures: on blocking threads behind a bound, or in place in a simulation.
#[derive(Clone, Debug)]
pub struct Cpu {
    permits: Option<Arc<Semaphore>>,
}

/// The closure panicked or the program is stopping.
#[derive(Debug)]
pub struct CpuError;

impl std::fmt::Display for CpuError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CPU-heavy work did not finish")
    }
}

impl std::error::Error for CpuError {}

impl Cpu {
    /// At most `parallel` closures at once, each on a thread of its own.
    #[must_use]
    pub fn threads(parallel: usize) -> Self {
        Self {
            permits: Some(Arc::new(Semaphore::new(parallel.max(1)))),
        }
    }

    /// Runs each closure in place: deterministic, for simulations.
    #[must_use]
    pub fn in_place() -> Self {
        Self { permits: None }
    }

    /// Runs `work` and waits for its result, without holding up other tasks.
    ///
    /// # Errors
    /// [`CpuError`] when `work` panicked or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CpuError> {
        let Some(permits) = &self.permits else {
            return Ok(work());
        };
        let permit = Arc::clone(permits)
            .acquire_owned()
            .await
            .map_err(|_| CpuError)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        done.await.map_err(|_| CpuError)
    }
}
