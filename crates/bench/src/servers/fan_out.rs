//! One message at a time to many clients, each of which waits in `/sync`; and clients that wait for nothing.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::Error;
use super::meter::{Meter, Round};
use super::plan::Plan;
use super::target::Target;
use super::user::User;

/// How long a poll waits for something new, in milliseconds.
const POLL_MS: u32 = 30_000;
/// How long a message may take to reach all.
const DELIVERY_PATIENCE: Duration = Duration::from_mins(2);
/// What stands before a message's number.
const MARK: &str = "fan-out number ";

/// A client that waits.
#[derive(Debug)]
pub struct Listener {
    /// Whose client it is.
    pub user: User,
    /// From where its next poll goes on.
    pub since: String,
}

/// Clients that wait now.
struct Audience {
    waiting: JoinSet<Result<(usize, Listener), Error>>,
    heard: mpsc::UnboundedReceiver<(u64, Instant)>,
    stop: watch::Sender<bool>,
    size: usize,
    next_message: u64,
    /// So that numbers of other runs aren't taken for ours.
    run: String,
}

/// Sends to `room` for `time`, the next message when all have the last one, and gives the clients back. An operation is
/// one message that reached one client; latencies are from the beginning of the send.
///
/// # Errors
/// When the server refuses something, or a message doesn't arrive.
pub async fn round(
    target: &Target,
    run: &str,
    (sender, room): (&mut User, &str),
    listeners: Vec<Listener>,
    time: Duration,
) -> Result<(Round, Vec<Listener>), Error> {
    let send = async |transaction: &str, text: &str| sender.send(room, transaction, text).await;
    tell_in_turn(target, run, listeners, time, send).await
}

/// As [`round`], where `send` sends each message, by a transaction id and a text that is in it. The clients come back in their order.
///
/// # Errors
/// As [`round`].
pub(super) async fn tell_in_turn(
    target: &Target,
    run: &str,
    listeners: Vec<Listener>,
    time: Duration,
    mut send: impl AsyncFnMut(&str, &str) -> Result<(), Error>,
) -> Result<(Round, Vec<Listener>), Error> {
    let mut audience = Audience::gather(run, listeners);
    // The first one makes sure that all are there.
    audience.tell(&mut send).await?;
    let meter = Meter::start(target);
    let until = Instant::now() + time;
    let mut latencies = Vec::new();
    while Instant::now() < until {
        latencies.append(&mut audience.tell(&mut send).await?);
    }
    let delivered = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
    let round = meter.stop(delivered, latencies);
    Ok((round, audience.dismiss().await?))
}

/// What waiting clients cost.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// CPU time, in thousandths of a second per second, where it is known.
    pub cpu_ms_per_second: Option<f64>,
    /// Memory of the server in bytes, where it is known.
    pub memory: Option<u64>,
}

/// Watches the server while clients wait for nothing.
///
/// # Errors
/// When the server refuses something.
pub async fn idle(
    target: &Target,
    run: &str,
    (sender, room): (&mut User, &str),
    listeners: Vec<Listener>,
    plan: &Plan,
) -> Result<(Idle, Vec<Listener>), Error> {
    let mut audience = Audience::gather(run, listeners);
    audience
        .tell(async |transaction, text| sender.send(room, transaction, text).await)
        .await?;
    sleep(plan.settle).await;
    let meter = Meter::start(target);
    sleep(plan.idle).await;
    let round = meter.stop(0, Vec::new());
    let idle = Idle {
        cpu_ms_per_second: round.cpu_seconds.map(|cpu| cpu * 1e3 / round.seconds),
        memory: target.memory(),
    };
    Ok((idle, audience.dismiss().await?))
}

impl Audience {
    fn gather(run: &str, listeners: Vec<Listener>) -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let size = listeners.len();
        let mut waiting = JoinSet::new();
        for listener in listeners.into_iter().enumerate() {
            waiting.spawn(listen(
                listener,
                format!("{MARK}{run}."),
                tell.clone(),
                stopped.clone(),
            ));
        }
        Self {
            waiting,
            heard,
            stop,
            size,
            next_message: 0,
            run: run.to_owned(),
        }
    }

    /// Sends one message and waits until all have it; gives how long it took to reach each.
    async fn tell(
        &mut self,
        mut send: impl AsyncFnMut(&str, &str) -> Result<(), Error>,
    ) -> Result<Vec<Duration>, Error> {
        let number = self.next_message;
        self.next_message += 1;
        let transaction = format!("{}.{number}", self.run);
        let text = format!("{MARK}{transaction};");
        let begun = Instant::now();
        send(&transaction, &text).await?;
        let mut latencies = Vec::with_capacity(self.size);
        while latencies.len() < self.size {
            tokio::select! {
                biased;
                heard = timeout_at(begun + DELIVERY_PATIENCE, self.heard.recv()) => match heard {
                    Ok(Some((heard, at))) if heard == number => latencies.push(at - begun),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return Err(Error::NotDelivered {
                        missing: self.size - latencies.len(),
                        clients: self.size,
                    }),
                },
                // A client that ends before it is told to has failed.
                Some(ended) = self.waiting.join_next() => { ended??; }
            }
        }
        Ok(latencies)
    }

    async fn dismiss(mut self) -> Result<Vec<Listener>, Error> {
        self.stop.send_replace(true);
        let mut listeners = Vec::with_capacity(self.size);
        while let Some(ended) = self.waiting.join_next().await {
            listeners.push(ended??);
        }
        listeners.sort_unstable_by_key(|(number, _)| *number);
        Ok(listeners.into_iter().map(|(_, it)| it).collect())
    }
}

async fn listen(
    (number, mut listener): (usize, Listener),
    mark: String,
    heard: mpsc::UnboundedSender<(u64, Instant)>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(usize, Listener), Error> {
    loop {
        let poll = listener.user.sync(Some(&listener.since), POLL_MS);
        let synced = tokio::select! {
            biased;
            synced = poll => synced?,
            _ = stopped.wait_for(|stopped| *stopped) => {
                listener.user.hang_up();
                return Ok((number, listener));
            }
        };
        listener.since = synced.next_batch;
        for message in numbers(&synced.body, &mark) {
            // Nobody listens any more when the round is over.
            heard.send((message, synced.at)).ok();
        }
    }
}

/// Whether an answer has any of the messages of a run.
pub(super) fn has_told(body: &[u8], run: &str) -> bool {
    !numbers(body, &format!("{MARK}{run}.")).is_empty()
}

/// The numbers that follow `mark` in an answer.
pub(super) fn numbers(body: &[u8], mark: &str) -> Vec<u64> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.split(mark)
        .skip(1)
        .filter_map(|rest| rest.split_once(';')?.0.parse().ok())
        .collect()
}
