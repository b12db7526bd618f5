//! Senders who each send their next message as soon as the last one is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::meter::{Meter, Round};
use super::target::Target;
use super::user::User;

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// At most so many messages together.
    pub messages: u64,
    /// Nothing is begun after this time.
    pub time: Duration,
}

/// A sender and where it sends to, one room after the other.
#[derive(Debug)]
pub struct Sender {
    /// Who sends.
    pub user: User,
    /// Ids of rooms.
    pub rooms: Arc<[String]>,
}

/// Has all of them send, and gives them back.
///
/// # Errors
/// When the server refuses a message.
pub async fn round(
    target: &Target,
    run: &str,
    senders: Vec<Sender>,
    amount: Amount,
) -> Result<(Round, Vec<Sender>), Error> {
    let begun = Arc::new(AtomicU64::new(0));
    let mut sending = JoinSet::new();
    let meter = Meter::start(target);
    let until = Instant::now() + amount.time;
    for (index, sender) in senders.into_iter().enumerate() {
        let begun = begun.clone();
        let prefix = format!("{run}.{index}");
        sending.spawn(async move {
            let next = || {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                (number < amount.messages && Instant::now() < until).then_some(number)
            };
            send_all(sender, &prefix, next).await
        });
    }
    let mut senders = Vec::new();
    let mut latencies = Vec::new();
    while let Some(ended) = sending.join_next().await {
        let (sender, mut its) = ended??;
        senders.push(sender);
        latencies.append(&mut its);
    }
    let sent = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
    Ok((meter.stop(sent, latencies), senders))
}

async fn send_all(
    mut sender: Sender,
    prefix: &str,
    next: impl Fn() -> Option<u64>,
) -> Result<(Sender, Vec<Duration>), Error> {
    let mut latencies = Vec::new();
    let rooms = sender.rooms.clone();
    for room in rooms.iter().cycle() {
        let Some(number) = next() else { break };
        let text = format!("{prefix}.{number}");
        let begun = Instant::now();
        sender.user.send(room, &text, &text).await?;
        latencies.push(begun.elapsed());
    }
    Ok((sender, latencies))
}
