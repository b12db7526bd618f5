//! Measures whole servers through their public API: ours, the floor, Synapse, and any other by its address.
//!
//! Every scenario is measured in rounds, each of which asks all servers in turn, so that what else happens on the machine
//! meets all alike. The servers that aren't asked at the time are idle.

pub mod accounts;
pub mod claims;
pub mod devices;
pub mod fan_out;
pub mod growth;
pub mod http;
pub mod inbound;
pub mod joins;
pub mod machine;
pub mod meter;
pub mod plan;
pub mod postgres;
pub mod processes;
pub mod report;
pub mod run;
pub mod send;
pub mod site;
pub mod start;
pub mod syncs;
pub mod target;
pub mod to_device;
pub mod user;

use ::http::StatusCode;
use thiserror::Error;

use crate::resident::ResidentError;

/// Why a server could not be measured.
#[derive(Debug, Error)]
pub enum Error {
    /// A file, process or socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A connection failed.
    #[error("a connection failed: {0}")]
    Connection(#[from] hyper::Error),
    /// A request that cannot be written.
    #[error("not a request: {0}")]
    Request(String),
    /// The server refused what the benchmark needs.
    #[error("{path}: {status} {body}")]
    Refused {
        /// The path of the request.
        path: String,
        /// What the server answered.
        status: StatusCode,
        /// Its body.
        body: String,
    },
    /// An answer lacks what the specification wants in it.
    #[error("{path}: {error}")]
    Malformed {
        /// The path of the request.
        path: String,
        /// What is wrong.
        error: String,
    },
    /// Registration wants stages that a benchmark cannot do.
    #[error("{0} cannot be registered: open registration, or a registration token, is needed")]
    Registration(String),
    /// `--target` is malformed.
    #[error("--target {0}")]
    Target(String),
    /// A server didn't start.
    #[error("did not start: {0}")]
    Start(String),
    /// Some servers were not measured to the end.
    #[error("not measured to the end: {0}")]
    Incomplete(String),
    /// A message didn't reach everybody in time.
    #[error("a message did not reach {missing} of {clients} clients")]
    NotDelivered {
        /// How many clients didn't get it.
        missing: usize,
        /// Of how many.
        clients: usize,
    },
    /// Messages of another server weren't shown in time.
    #[error("{missing} of {events} messages from another server are not shown")]
    NotReceived {
        /// How many weren't.
        missing: u64,
        /// Of how many.
        events: u64,
    },
    /// The server that rooms are joined through.
    #[error("the other server: {0}")]
    Resident(#[from] ResidentError),
    /// PostgreSQL.
    #[error("PostgreSQL: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// SQLite.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A task of the benchmark panicked.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}
