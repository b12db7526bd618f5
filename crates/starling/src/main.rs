//! The program: command line, wiring, signals.

mod cli;
mod configuration;
mod control;
mod data_dir;
mod failure;
mod logs;
mod open;
mod pages;
mod passwords;
mod report;
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
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What the program writes holds secrets and what people say to each other: it is for its owner only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
