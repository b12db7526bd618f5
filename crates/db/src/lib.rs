//! The storage engines: SQLite and PostgreSQL behind one synchronous transaction, with group commit.
//!
//! This crate knows nothing of Matrix. Its users give it statements ([`Sql`], one text for both engines) and closures:
//!
//! * [`Db::read`] runs a closure of point reads; on SQLite in place, in a few microseconds.
//! * [`Db::scan`] runs a closure that reads much, on a thread of its own.
//! * [`Db::write`] queues a [`Write`]; many share one durable commit. It resolves after that commit.
//!
//! A write may run twice (a failed neighbour, a serialization failure), so its closures must change nothing outside
//! the transaction; what must happen after the commit is registered with [`Tx::after_commit`].
//!
//! Rows that readers must learn about take a *position* in one sequence ([`Positions`]). Positions become visible in
//! order: whoever has seen N never later finds a new row below N, with one node or with ten.

mod batch;
mod commits;
mod engine;
mod error;
mod migrate;
mod open;
mod postgres;
mod reader;
mod simulation;
mod sql;
mod sqlite;
mod tx;
mod value;
mod write;
mod writer;

pub use commits::Commits;
pub use engine::{Dialect, Row};
pub use error::{EngineError, Error};
pub use migrate::{Migration, Schema, statements};
pub use open::{Db, Options, sqlite_path};
pub use simulation::Simulation;
pub use sql::{Sql, pairs};
pub use tx::{Positions, Tx};
pub use value::Value;
pub use write::{Receipt, Slot, Write};
