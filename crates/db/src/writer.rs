//! The writer: takes what is queued, runs it as one batch, commits, answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::batch::{self, NoFaults, Outcome};
use crate::commits::Commits;
use crate::engine::WriteConnection;
use crate::error::Error;
use crate::simulation::{SimulatedDisk, Simulation};
use crate::write::Job;

/// The most bodies that share a commit: bounds how long the first of them waits.
const BATCH: usize = 256;

type Queue = mpsc::UnboundedReceiver<Box<dyn Job>>;

/// Its sender is dropped when the writer has stopped, after the queue is closed. It holds true when the writer stopped
/// by itself, after a commit whose outcome isn't known.
pub(crate) type Stopped = watch::Receiver<bool>;

/// Starts the writer's thread.
pub(crate) fn spawn(
    connection: impl WriteConnection + Send + 'static,
    queue: Queue,
    commits: Commits,
) -> Result<Stopped, Error> {
    let (running, stopped) = watch::channel(false);
    let thread = std::thread::Builder::new().name("db-writer".to_owned());
    let run = move || {
        if write_all(connection, queue, &commits) == Outcome::Uncertain {
            running.send_replace(true);
        }
        drop(running);
    };
    thread
        .spawn(run)
        .map_err(|error| Error::Unavailable(format!("no thread for the writer: {error}")))?;
    Ok(stopped)
}

/// Writes until the queue is closed, or the outcome of a commit isn't known. Then whatever is queued is dropped, which
/// tells its requests that the database is closed.
fn write_all(mut connection: impl WriteConnection, mut queue: Queue, commits: &Commits) -> Outcome {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = batch_of(first, &mut queue);
        let started = tokio::time::Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            batch::run(&mut connection, &mut batch, &mut NoFaults);
            let outcome = batch::commit(&mut connection, &mut batch, &mut NoFaults);
            metrics::histogram!("starling_db_commit_seconds")
                .record(started.elapsed().as_secs_f64());
            batch::finish(batch, commits);
            outcome
        }));
        match ran {
            Ok(Outcome::Known) => {}
            Ok(Outcome::Uncertain) => return Outcome::Uncertain,
            Err(_) => {
                // Panics of bodies and hooks are caught closer to them. The jobs were dropped, which tells their
                // requests; the transaction must not outlive them. A failure here shows again at the next `begin`.
                tracing::error!("the writer panicked; the batch is given up");
                connection.rollback().ok();
            }
        }
    }
    Outcome::Known
}

/// Starts the simulated writer, a task of the current runtime: the same steps, with the disk's delays between them.
pub(crate) fn spawn_simulated(
    connection: impl WriteConnection + Send + 'static,
    queue: Queue,
    (simulation, disk): (Simulation, Arc<SimulatedDisk>),
    commits: Commits,
) -> Stopped {
    let (running, stopped) = watch::channel(false);
    tokio::spawn(async move {
        simulate(connection, queue, (simulation, disk), &commits).await;
        drop(running);
    });
    stopped
}

async fn simulate(
    mut connection: impl WriteConnection + Send,
    mut queue: Queue,
    (mut simulation, disk): (Simulation, Arc<SimulatedDisk>),
    commits: &Commits,
) {
    while let Some(first) = queue.recv().await {
        simulation.pause().await;
        let mut jobs = batch_of(first, &mut queue);
        let durable = jobs
            .iter()
            .any(|job| !job.write().relaxed || job.positioned());
        batch::run(&mut connection, &mut jobs, &mut simulation.clone());
        // A power cut here loses all of it.
        simulation.pause().await;
        batch::commit(&mut connection, &mut jobs, &mut simulation);
        if durable {
            // At once: the real engines let nobody see a durable transaction before the disk has it.
            disk.sync();
        }
        // A power cut here keeps it, but nobody was told.
        simulation.pause().await;
        batch::finish(jobs, commits);
    }
}

fn batch_of(first: Box<dyn Job>, queue: &mut Queue) -> Vec<Box<dyn Job>> {
    let mut jobs = vec![first];
    while jobs.len() < BATCH
        && let Ok(job) = queue.try_recv()
    {
        jobs.push(job);
    }
    metrics::histogram!("starling_db_batch_writes")
        .record(f64::from(u32::try_from(jobs.len()).unwrap_or(u32::MAX)));
    jobs
}
