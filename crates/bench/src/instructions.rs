//! Work whose instructions are counted: one kind of it, done a number of times after a start that is always the same.
//!
//! What one time costs is the difference between runs that do it more and less often, divided by how much more often:
//! `cargo xtask instructions`. So that the counts of two runs are nearly the same, there is one thread, time is paused
//! (it goes on only while everything waits), ids and tokens come from a seed, and the database's writer is simulated.

mod client;
mod resolution;
mod send;
mod sync;

use std::future::Future;
use std::io;

use clap::ValueEnum;
use tokio::runtime::Builder;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// One message to a room of 100 members, from the request to the answer.
    Send,
    /// One `/sync` of a member of 20 rooms, of which one has a new message.
    Sync,
    /// One state resolution: 1000 members, two forks, 200 conflicted keys.
    Resolution,
}

/// Gets ready, then does `work` `count` times.
///
/// # Errors
/// When there is no runtime.
///
/// # Panics
/// When the work isn't done as it should be.
pub fn run(work: Work, count: u64) -> io::Result<()> {
    match work {
        Work::Send => in_simulated_time(send::run(count)),
        Work::Sync => in_simulated_time(sync::run(count)),
        Work::Resolution => {
            resolution::run(count);
            Ok(())
        }
    }
}

fn in_simulated_time(work: impl Future<Output = ()>) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(work);
    Ok(())
}
