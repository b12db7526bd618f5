//! One batch: many writes, one transaction, one commit that the disk has before anybody is answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;

use crate::commits::Commits;
use crate::engine::{Connection, WriteConnection};
use crate::error::Error;
use crate::tx::{Positions, Tx};
use crate::write::{Job, Step};

/// How often a batch is tried in spite of other transactions and lost connections.
const ATTEMPTS: u32 = 5;

/// A step of a body that takes longer is told to the log: everybody in the batch waits for it.
const SLOW: Duration = Duration::from_millis(100);

/// What ends an attempt early.
enum Stop {
    /// Run again: another transaction was in the way, or the connection was lost before the commit.
    Again(Error),
    /// Run again with a savepoint around each body, and without those that are excluded.
    Isolate,
    /// The engine failed.
    Engine(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict { .. } | Error::Unavailable(_) => Self::Again(error),
            error => Self::Engine(error),
        }
    }
}

/// Lets a simulation fail chosen bodies and commits.
pub(crate) trait Faults {
    fn fails_body(&mut self) -> bool;
    fn fails_commit(&mut self) -> bool;
}

/// Nothing fails but by itself.
pub(crate) struct NoFaults;

impl Faults for NoFaults {
    fn fails_body(&mut self) -> bool {
        false
    }
    fn fails_commit(&mut self) -> bool {
        false
    }
}

/// Runs the bodies of `jobs` up to, but without, the commit. Afterwards each job either waits for
/// [`commit`] or has failed.
pub(crate) fn run(
    connection: &mut dyn WriteConnection,
    jobs: &mut [Box<dyn Job>],
    faults: &mut dyn Faults,
) {
    // Failures after the first change are rare. A savepoint is a round trip on PostgreSQL, and on SQLite a copy of every
    // page that the body then changes.
    let mut isolate = false;
    let mut attempts = 1;
    for job in jobs.iter_mut() {
        if faults.fails_body() {
            job.fail(Error::Simulated);
        }
    }
    loop {
        let Err(stop) = attempt(connection, jobs, isolate) else {
            return;
        };
        if let Err(error) = connection.rollback() {
            return fail_all(jobs, &error);
        }
        match stop {
            // From the second time on, each time one job more is excluded: this ends.
            Stop::Isolate => isolate = true,
            Stop::Again(_) if attempts < ATTEMPTS => attempts += 1,
            Stop::Again(error) | Stop::Engine(error) => return fail_all(jobs, &error),
        }
    }
}

/// Whether what became of a commit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is: the jobs say it.
    Known,
    /// It may be stored, and its hooks will not run: caches and listeners are no longer to be trusted.
    Uncertain,
}

/// Commits what [`run`] left open. Whatever of it fails, all of it fails.
pub(crate) fn commit(
    connection: &mut dyn WriteConnection,
    jobs: &mut [Box<dyn Job>],
    faults: &mut dyn Faults,
) -> Outcome {
    let result = if jobs.iter().all(|job| job.has_failed()) {
        // Nothing is open after a failed attempt; after a good one an empty transaction ends here.
        connection.rollback()
    } else if faults.fails_commit() {
        connection.rollback().and(Err(Error::Simulated))
    } else {
        connection.commit()
    };
    if let Err(error) = result {
        // Not all failures end the transaction. If this fails too, the next `begin` says so.
        connection.rollback().ok();
        fail_all(jobs, &error);
        if matches!(error, Error::Uncertain(_)) {
            return Outcome::Uncertain;
        }
    }
    Outcome::Known
}

/// After the commit: caches are replaced and readers woken in the order of the writes, then everybody is answered.
pub(crate) fn finish(mut jobs: Vec<Box<dyn Job>>, commits: &Commits) {
    // Before the hooks: see `Commits`.
    commits.add();
    for job in &mut jobs {
        let what = job.write().what;
        let hooks = job.take_hooks();
        let result = if job.has_failed() {
            "failed"
        } else {
            "committed"
        };
        metrics::counter!("starling_db_writes_total", "what" => what, "result" => result)
            .increment(1);
        if job.has_failed() {
            continue;
        }
        for hook in hooks {
            // The write is stored, whatever its hook does: neither it nor its neighbours may be told otherwise.
            if catch_unwind(AssertUnwindSafe(hook)).is_err() {
                tracing::error!(what, "a hook panicked after the commit of a write");
            }
        }
    }
    for job in jobs {
        job.answer();
    }
}

fn attempt(
    connection: &mut dyn WriteConnection,
    jobs: &mut [Box<dyn Job>],
    isolate: bool,
) -> Result<(), Stop> {
    for job in jobs.iter_mut() {
        job.revive();
    }
    let relaxed = waiting(jobs).all(|job| job.write().relaxed && !job.positioned());
    connection.begin(relaxed).map_err(|error| match error {
        Error::Conflict { .. } => Stop::Again(error),
        // It cannot be reached: to try at once again would only let everybody wait longer.
        error => Stop::Engine(error),
    })?;
    let mut locks: Vec<i64> = waiting(jobs)
        .flat_map(|job| job.write().locks.iter().copied())
        .collect();
    locks.sort_unstable();
    locks.dedup();
    connection.lock(&locks)?;
    for job in waiting(jobs) {
        work(connection, job.as_mut(), isolate)?;
    }
    if waiting(jobs).any(|job| job.positioned()) {
        return place_all(connection, jobs, isolate);
    }
    for job in waiting(jobs) {
        finish_unplaced(connection, job.as_mut());
    }
    Ok(())
}

/// Those that have not failed.
fn waiting(jobs: &mut [Box<dyn Job>]) -> impl Iterator<Item = &mut Box<dyn Job>> {
    jobs.iter_mut().filter(|job| !job.has_failed())
}

fn work(
    connection: &mut dyn WriteConnection,
    job: &mut dyn Job,
    isolate: bool,
) -> Result<(), Stop> {
    if isolate {
        connection.savepoint()?;
    }
    let started = Instant::now();
    let step = job.work(Tx::new(as_connection(connection)));
    warn_if_slow(job, "work", started);
    match step {
        Step::Again(error) => Err(Stop::Again(error)),
        Step::Done if isolate => Ok(connection.release()?),
        Step::Failed { .. } if isolate => Ok(undo(connection)?),
        Step::Failed { dirty: true } => Err(Stop::Isolate),
        Step::Done | Step::Failed { dirty: false } => Ok(()),
    }
}

/// The second step of every job, with positions from the locked head.
fn place_all(
    connection: &mut dyn WriteConnection,
    jobs: &mut [Box<dyn Job>],
    isolate: bool,
) -> Result<(), Stop> {
    let head = connection.head_for_update()?;
    let mut positions = Positions::after(head);
    let mut leftovers = false;
    for job in waiting(jobs) {
        if job.positioned() {
            leftovers |= place(connection, job.as_mut(), &mut positions, isolate)?;
        } else {
            finish_unplaced(connection, job.as_mut());
        }
    }
    if leftovers {
        return Err(Stop::Isolate);
    }
    if positions.last() != head {
        connection.execute(&crate::migrate::RAISE_HEAD, &[positions.last().into()])?;
    }
    Ok(())
}

/// Runs one second step. True if it failed, and what its first step wrote is still part of the transaction: then all
/// but this one must start again.
fn place(
    connection: &mut dyn WriteConnection,
    job: &mut dyn Job,
    positions: &mut Positions,
    isolate: bool,
) -> Result<bool, Stop> {
    if isolate {
        connection.savepoint()?;
    }
    let before = positions.last();
    let started = Instant::now();
    let step = job.place(Tx::new(as_connection(connection)), positions);
    warn_if_slow(job, "place", started);
    let dirty = match step {
        Step::Again(error) => return Err(Stop::Again(error)),
        Step::Done if isolate => return Ok(connection.release().map(|()| false)?),
        Step::Done => return Ok(false),
        Step::Failed { dirty } => dirty,
    };
    positions.take_back(before);
    if isolate {
        undo(connection)?;
    }
    let leftovers = job.has_worked() || (dirty && !isolate);
    if leftovers && !isolate {
        return Err(Stop::Isolate);
    }
    if leftovers {
        job.exclude();
    }
    Ok(leftovers)
}

/// The second step of a write that has none: its result becomes its outcome.
fn finish_unplaced(connection: &mut dyn WriteConnection, job: &mut dyn Job) {
    job.place(Tx::new(as_connection(connection)), &mut Positions::after(0));
}

fn undo(connection: &mut dyn WriteConnection) -> Result<(), Error> {
    connection.rollback_to_savepoint()?;
    connection.release()
}

fn warn_if_slow(job: &dyn Job, step: &'static str, started: Instant) {
    let took = started.elapsed();
    if took > SLOW {
        tracing::warn!(
            write = job.write().what,
            step,
            took_ms = took.as_millis(),
            "a write to the database was slow, and the writes of others waited for it; if this happens often, \
             see whether the disk or the database server is slow, or the machine has too much to do"
        );
    }
}

fn as_connection(connection: &mut dyn WriteConnection) -> &mut dyn Connection {
    connection
}

fn fail_all(jobs: &mut [Box<dyn Job>], error: &Error) {
    for job in waiting(jobs) {
        job.fail(error.clone());
    }
}
