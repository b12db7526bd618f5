//! `starling-bench`: measures parts of the server, and whole servers; prints tables in Markdown.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]

mod core;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The allocator of the server, also for what it is compared with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures parts of the server, and whole servers.
#[derive(Debug, Parser)]
#[command(name = "starling-bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// State resolution and events, against another implementation.
    Core {
        /// Small rooms only: seconds instead of minutes.
        #[arg(long)]
        short: bool,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().what {
        What::Core { short } => core::run(short).map_err(|error| error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starling-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
