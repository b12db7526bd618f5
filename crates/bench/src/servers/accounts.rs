//! Registering and logging in, two at a time.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::meter::{Meter, Round};
use super::target::Target;
use super::user::User;

/// How many are at it at once.
const AT_ONCE: usize = 2;

/// Makes accounts for `time`.
///
/// # Errors
/// When the server refuses.
pub async fn register(target: &Target, run: &str, time: Duration) -> Result<Round, Error> {
    let mut working = JoinSet::new();
    let meter = Meter::start(target);
    let until = Instant::now() + time;
    for worker in 0..AT_ONCE {
        let (target, run) = (target.clone(), run.to_owned());
        working.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                let name = format!("r{run}.{worker}.{}", latencies.len());
                User::register(&target, &name).await?;
                latencies.push(begun.elapsed());
            }
            Ok(latencies)
        });
    }
    finish(meter, working).await
}

/// Logs users in again and again, for `time`.
///
/// # Errors
/// When the server refuses.
pub async fn log_in(target: &Target, users: &[User], time: Duration) -> Result<Round, Error> {
    let mut working = JoinSet::new();
    let meter = Meter::start(target);
    let until = Instant::now() + time;
    for user in users.iter().take(AT_ONCE) {
        let (target, name) = (target.clone(), user.name().to_owned());
        working.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                User::log_in(&target, &name).await?;
                latencies.push(begun.elapsed());
            }
            Ok(latencies)
        });
    }
    finish(meter, working).await
}

async fn finish(
    meter: Meter<'_>,
    mut working: JoinSet<Result<Vec<Duration>, Error>>,
) -> Result<Round, Error> {
    let mut latencies = Vec::new();
    while let Some(ended) = working.join_next().await {
        latencies.append(&mut ended??);
    }
    let done = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
    Ok(meter.stop(done, latencies))
}
