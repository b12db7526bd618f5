//! The runner of durable jobs.

use std::pin::pin;
use std::time::Duration;

use starling_db::{Error, Tx, Write};
use starling_rooms::Rooms;
use starling_runtime::Clock;
use starling_store::Store;
use starling_store::jobs::{Job, Progress, job_proceed, jobs_due, jobs_next};

/// The longest that it waits, even if nothing was heard: for what other processes brought about.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// When a piece that failed is tried again, in milliseconds.
const RETRY_MS: i64 = 60_000;

/// Jobs that get their turn before it is looked which have waited longest.
const TURNS: u32 = 100;

/// The runner. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs {
    store: Store,
    rooms: Rooms,
    clock: Clock,
}

impl Jobs {
    /// A runner of the jobs in this store.
    #[must_use]
    pub fn new(store: Store, rooms: Rooms, clock: Clock) -> Self {
        Self {
            store,
            rooms,
            clock,
        }
    }

    /// Works until `stop`; first on what was left when the server stopped the last time. What is in the middle of a piece
    /// then is done again the next time.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let worked = tokio::select! {
                biased;
                () = &mut stop => return,
                worked = self.work() => worked,
            };
            let wait = worked.unwrap_or_else(|error| {
                tracing::warn!(%error, "jobs wait for the database");
                LONGEST_WAIT
            });
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = self.store.jobs().notified() => {}
                () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
            }
        }
    }

    /// Works on all that is due; how long it is until something else will be.
    ///
    /// # Errors
    /// When the database fails; what is left is done the next time.
    pub async fn work(&self) -> Result<Duration, Error> {
        loop {
            let now_ms = self.clock.now_ms();
            let read = move |tx: &mut Tx<'_>| Ok((jobs_due(tx, now_ms, TURNS)?, jobs_next(tx)?));
            let (due, next) = self.store.db().read("jobs_due", read).await?;
            if due.is_empty() {
                let wait = next.and_then(|next| u64::try_from(next - now_ms).ok());
                return Ok(wait.map_or(LONGEST_WAIT, Duration::from_millis));
            }
            for job in due {
                self.piece(job).await?;
            }
        }
    }

    async fn piece(&self, job: Job) -> Result<(), Error> {
        let worked = self.rooms.work(&job).await;
        let now_ms = self.clock.now_ms();
        let progress = match worked {
            Ok(progress) => progress,
            Err(error @ Error::Closed) => return Err(error),
            Err(error) => {
                tracing::warn!(task = ?job.task, %error, "a job has failed, and will be tried again");
                Progress::PutOff(now_ms + RETRY_MS)
            }
        };
        let proceed = move |tx: &mut Tx<'_>| job_proceed(tx, &job, progress, now_ms);
        // If it is lost, a piece is done again.
        let write = Write::new("job_proceed").relaxed();
        self.store.db().write(write, proceed).await
    }
}
