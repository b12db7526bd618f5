//! `starling-bench`: measures parts of the server, and whole servers; prints tables in Markdown.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]

mod compare;
mod core;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use starling_bench::floor;
use starling_bench::instructions::{self, Work};

/// The allocator of the server, also for what it is compared with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// As the server sets it.
#[expect(
    unsafe_code,
    reason = "the name under which the allocator looks for its settings"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: Option<&[u8; 60]> =
    Some(b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0");

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
        /// Where to write what was measured as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Whole servers: ours, the floor, Synapse and others.
    Servers(compare::Servers),
    /// Does one kind of work so many times, for a program that counts instructions.
    Instructions {
        /// What is done.
        work: Work,
        /// How often, after a start that is always the same.
        count: u64,
    },
    /// Serves the least that any homeserver must do for messages, until SIGTERM.
    Floor {
        /// The folder of its database, which must not hold one yet.
        #[arg(long)]
        data: PathBuf,
        /// Where it listens; port 0 for any that is free.
        #[arg(long)]
        address: SocketAddr,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().what {
        What::Core { short, json } => {
            core::run(short, json.as_deref()).map_err(|error| error.to_string())
        }
        What::Servers(servers) => compare::run(&servers).map_err(|error| error.to_string()),
        What::Instructions { work, count } => {
            instructions::run(work, count).map_err(|error| error.to_string())
        }
        What::Floor { data, address } => {
            floor::run(&data, address, |at| println!("listening on http://{at}"))
                .map_err(|error| error.to_string())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starling-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
