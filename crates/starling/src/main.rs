//! The program: command line, wiring, signals.

mod cli;
mod configuration;
mod control;
mod data_dir;
mod failure;
mod federation;
mod head_note;
mod key;
mod key_file;
mod logs;
mod metrics;
mod open;
mod pages;
mod passwords;
mod report;
mod restored;
mod room;
mod routes;
mod serve;
mod signals;
mod signing_key;
mod sweep;
mod token;
mod user;
mod version;
mod way;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is freed goes back to the system after a second, also where no thread frees anything any more: an idle server is small.
#[expect(
    unsafe_code,
    reason = "the name under which the allocator looks for its settings"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: Option<&[u8; 60]> =
    Some(b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0");

fn main() -> ExitCode {
    // What the program writes holds secrets and what people say to each other: it is for its owner only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
