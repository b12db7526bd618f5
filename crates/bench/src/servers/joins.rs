//! Joining large rooms of another server, which gives all who join the same bytes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Error;
use super::meter::{Meter, Round};
use super::processes::Processes;
use super::target::Target;
use super::user::User;
use crate::resident::Resident;
use crate::resident::room::Room;

/// How long a server may work on a join after it has answered.
const QUIET_PATIENCE: Duration = Duration::from_mins(1);
/// How often to look whether it still does.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Who uses less CPU time between two looks is done.
const QUIET: Duration = Duration::from_millis(25);

/// What a join took.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Until the answer. An operation is one member of the room.
    pub round: Round,
    /// CPU time until the server was quiet again, in seconds, where it is known.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the server held meanwhile, in bytes, its database not included, where it is known.
    pub memory: Option<u64>,
}

/// Has a user join a room.
///
/// # Errors
/// When the server refuses, or doesn't know all members then.
pub async fn join(
    target: &Target,
    guest: &mut User,
    (resident, room): (&Resident, &Room),
) -> Result<Joined, Error> {
    let processes = target.processes.as_ref();
    if let Some(processes) = processes {
        processes.forget_most_memory();
    }
    let before = target.cpu_time();
    let meter = Meter::start(target);
    let begun = Instant::now();
    let id = room.id.as_str();
    guest.join_via(id, resident.name().as_str()).await?;
    let members = u64::try_from(room.members()).unwrap_or(u64::MAX);
    let round = meter.stop(members, vec![begun.elapsed()]);
    until_quiet(target).await;
    let cpu = target.cpu_time().zip(before);
    let joined = Joined {
        round,
        cpu_seconds: cpu.map(|(after, before)| after.saturating_sub(before).as_secs_f64()),
        memory: processes.map(Processes::most_memory),
    };
    guest.check_members(id, room.members() + 1).await?;
    Ok(joined)
}

async fn until_quiet(target: &Target) {
    let until = Instant::now() + QUIET_PATIENCE;
    let mut last = target.cpu_time();
    while last.is_some() && Instant::now() < until {
        sleep(LOOK_EVERY).await;
        let now = target.cpu_time();
        if let (Some(now), Some(last)) = (now, last)
            && now.saturating_sub(last) < QUIET
        {
            return;
        }
        last = now;
    }
}
