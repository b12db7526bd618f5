//! A queued write: its two steps, what it locks, and the receipt on which its request waits.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::Error;
use crate::tx::{Hook, Positions, Traces, Tx};

/// What a write is called, locks and asks of the disk.
#[derive(Debug, Clone)]
pub struct Write {
    pub(crate) what: &'static str,
    pub(crate) locks: Vec<i64>,
    pub(crate) relaxed: bool,
}

impl Write {
    /// A durable write called `what` in metrics.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            locks: Vec::new(),
            relaxed: false,
        }
    }

    /// Keeps other nodes away from these keys (the integers of the rooms it touches) until the commit.
    #[must_use]
    pub fn locking(mut self, keys: impl IntoIterator<Item = i64>) -> Self {
        self.locks.extend(keys);
        self
    }

    /// May be lost in a crash: the disk isn't waited for. Never for what is acknowledged to anybody. (A write that
    /// takes positions is waited for all the same, since readers are handed tokens that hold them.)
    #[must_use]
    pub fn relaxed(mut self) -> Self {
        self.relaxed = true;
        self
    }
}

/// A place in the writer's queue, so that a write can be queued without waiting while a room's lock is held.
#[derive(Debug)]
pub struct Slot {
    pub(crate) queue: mpsc::UnboundedSender<Box<dyn Job>>,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Queues a write of two steps at once: `work` does all but give out positions; `place`, run for the whole batch
    /// after the last position is locked, writes the rows that take one. `failed` runs if the write didn't commit.
    pub fn submit<A, T, E>(
        self,
        write: Write,
        work: impl FnMut(&mut Tx<'_>) -> Result<A, E> + Send + 'static,
        place: impl FnMut(&mut Tx<'_>, &mut Positions, A) -> Result<T, E> + Send + 'static,
        failed: impl FnOnce() + Send + 'static,
    ) -> Receipt<T, E>
    where
        A: Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.queue(write, true, work, place, Some(Box::new(failed)))
    }

    pub(crate) fn submit_unplaced<T, E>(
        self,
        write: Write,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Receipt<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.queue(
            write,
            false,
            work,
            |_: &mut Tx<'_>, _: &mut Positions, done: T| Ok(done),
            None,
        )
    }

    fn queue<A, T, E>(
        self,
        write: Write,
        positioned: bool,
        work: impl FnMut(&mut Tx<'_>) -> Result<A, E> + Send + 'static,
        place: impl FnMut(&mut Tx<'_>, &mut Positions, A) -> Result<T, E> + Send + 'static,
        failed: Option<Hook>,
    ) -> Receipt<T, E>
    where
        A: Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (answer, receipt) = oneshot::channel();
        let job = TypedJob {
            write,
            work,
            place,
            positioned,
            failed,
            between: None,
            outcome: None,
            excluded: false,
            hooks: Vec::new(),
            worked: false,
            answer: Some(answer),
            _permit: self.permit,
        };
        // A closed queue drops the job, and with it the sender: the receipt answers `Closed`.
        self.queue.send(Box::new(job)).ok();
        Receipt { receipt }
    }
}

/// Resolves when the write is durable, or has failed. Dropping it doesn't take the write back.
#[derive(Debug)]
pub struct Receipt<T, E> {
    receipt: oneshot::Receiver<Result<T, E>>,
}

impl<T, E: From<Error>> Future for Receipt<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receipt)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(Error::Closed.into())))
    }
}

/// How one step of a job ended.
#[derive(Debug)]
pub(crate) enum Step {
    Done,
    /// The body failed; `dirty` says whether it may have changed anything, or left the transaction unusable, before.
    Failed {
        dirty: bool,
    },
    /// Another transaction was in the way, or the connection was lost: the whole batch is run again.
    Again(Error),
}

/// A write without its types, as the writer sees it.
pub(crate) trait Job: Send {
    fn write(&self) -> &Write;
    /// Whether it has a second step that gives out positions.
    fn positioned(&self) -> bool;
    /// Forgets what became of it in a transaction that was rolled back, unless it is excluded.
    fn revive(&mut self);
    fn work(&mut self, tx: Tx<'_>) -> Step;
    fn place(&mut self, tx: Tx<'_>, positions: &mut Positions) -> Step;
    /// Whether its first step may have written anything.
    fn has_worked(&self) -> bool;
    /// Whether it has failed.
    fn has_failed(&self) -> bool;
    /// Leaves a job that has failed out of the further attempts.
    fn exclude(&mut self);
    /// Fails it for good, for a reason of the engine's.
    fn fail(&mut self, error: Error);
    /// Takes what must run after the commit.
    fn take_hooks(&mut self) -> Vec<Hook>;
    /// Answers the request, after the commit (or instead of it).
    fn answer(self: Box<Self>);
}

impl std::fmt::Debug for dyn Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Job").field(self.write()).finish()
    }
}

struct TypedJob<A, T, E, W, P> {
    write: Write,
    work: W,
    place: P,
    positioned: bool,
    failed: Option<Hook>,
    /// What the first step handed to the second.
    between: Option<A>,
    outcome: Option<Result<T, E>>,
    /// Whether its failure stands, whatever becomes of the batch.
    excluded: bool,
    hooks: Vec<Hook>,
    worked: bool,
    answer: Option<oneshot::Sender<Result<T, E>>>,
    /// The place in the queue, given back when the job is answered.
    _permit: OwnedSemaphorePermit,
}

impl<A, T, E: From<Error>, W, P> TypedJob<A, T, E, W, P> {
    /// Judges a step by its result and by what it did to the transaction.
    fn end<X>(
        &mut self,
        traces: Traces,
        result: std::thread::Result<Result<X, E>>,
    ) -> Result<X, Step> {
        self.hooks.extend(traces.hooks);
        if let Some(error @ (Error::Conflict { .. } | Error::Unavailable(_))) = traces.failure {
            return Err(Step::Again(error));
        }
        let dirty = traces.wrote || traces.failure.is_some();
        let error = match (result, traces.failure) {
            (Ok(Ok(value)), None) => return Ok(value),
            (Ok(Ok(_)), Some(failure)) => failure.into(),
            (Ok(Err(error)), _) => error,
            (Err(_), _) => Error::Panicked.into(),
        };
        self.outcome = Some(Err(error));
        Err(Step::Failed { dirty })
    }
}

impl<A, T, E, W, P> Job for TypedJob<A, T, E, W, P>
where
    A: Send,
    T: Send,
    E: From<Error> + Send,
    W: FnMut(&mut Tx<'_>) -> Result<A, E> + Send,
    P: FnMut(&mut Tx<'_>, &mut Positions, A) -> Result<T, E> + Send,
{
    fn write(&self) -> &Write {
        &self.write
    }

    fn positioned(&self) -> bool {
        self.positioned
    }

    fn revive(&mut self) {
        if !self.excluded {
            self.hooks.clear();
            self.outcome = None;
            self.between = None;
        }
    }

    fn work(&mut self, mut tx: Tx<'_>) -> Step {
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(&mut tx)));
        let traces = tx.into_traces();
        self.worked = traces.wrote;
        match self.end(traces, result) {
            Ok(between) => {
                self.between = Some(between);
                Step::Done
            }
            Err(step) => step,
        }
    }

    fn place(&mut self, mut tx: Tx<'_>, positions: &mut Positions) -> Step {
        let Some(between) = self.between.take() else {
            self.outcome = Some(Err(Error::Closed.into()));
            return Step::Failed { dirty: false };
        };
        let result = catch_unwind(AssertUnwindSafe(|| {
            (self.place)(&mut tx, positions, between)
        }));
        match self.end(tx.into_traces(), result) {
            Ok(value) => {
                self.outcome = Some(Ok(value));
                Step::Done
            }
            Err(step) => step,
        }
    }

    fn has_worked(&self) -> bool {
        self.worked
    }

    fn has_failed(&self) -> bool {
        matches!(self.outcome, Some(Err(_)))
    }

    fn exclude(&mut self) {
        self.excluded = true;
    }

    fn fail(&mut self, error: Error) {
        self.outcome = Some(Err(error.into()));
        self.excluded = true;
    }

    fn take_hooks(&mut self) -> Vec<Hook> {
        std::mem::take(&mut self.hooks)
    }

    fn answer(mut self: Box<Self>) {
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| Err(Error::Closed.into()));
        if let (Err(_), Some(failed)) = (&outcome, self.failed.take()) {
            failed();
        }
        if let Some(answer) = self.answer.take() {
            // The request may have gone away; the write stands all the same.
            answer.send(outcome).ok();
        }
    }
}

impl<A, T, E, W, P> Drop for TypedJob<A, T, E, W, P> {
    fn drop(&mut self) {
        // A job that the writer never answered (it is stopping) has failed.
        if let Some(failed) = self.failed.take()
            && self.answer.is_some()
        {
            failed();
        }
    }
}
