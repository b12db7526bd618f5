//! Servers, databases and rooms for tests.
//!
//! * [`on_each_engine`] runs one test body on SQLite, then on PostgreSQL; [`TestDb`] is the database it gets. The
//!   environment variable `STARLING_TEST_POSTGRES` names the cluster (`scripts/with-postgres.sh` starts one and sets
//!   it); without it such a test fails, it is never skipped.
//! * [`World`] (feature `rooms`) is a server's rooms without its edge: users who create rooms, join and send.
//! * [`Peer`] (feature `rooms`) is another server, as far as its events go.
//! * [`TestDevice`] and [`CrossSigner`] (feature `forks`) make keys as clients do.
//! * [`TestServer`] (feature `server`) is a server with its client API, called without sockets.
//! * [`remote_by`] (feature `rooms`) is how such a server speaks to others, which a test plays.
//! * [`TestDb::simulated`] is a database whose writer and disk are simulated: delays, faults, power cuts.
//! * `simulation` (feature of that name) is several servers that talk to each other, in a network that fails.
//! * [`forks`] (feature of that name, which needs no database) makes random rooms whose history forks.
//! * [`seeds`] says how many seeds a test of random cases tries.

#[cfg(feature = "database")]
mod database;
#[cfg(feature = "forks")]
mod device;
#[cfg(feature = "forks")]
pub mod forks;
#[cfg(feature = "rooms")]
mod peer;
#[cfg(feature = "rooms")]
mod remote;
mod seeds;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(feature = "rooms")]
mod world;

#[cfg(feature = "database")]
pub use database::{TestDb, on_each_engine};
#[cfg(feature = "forks")]
pub use device::{CrossSigner, TestDevice};
#[cfg(feature = "rooms")]
pub use peer::{Peer, Said};
#[cfg(feature = "rooms")]
pub use remote::{client_by, remote_by};
pub use seeds::seeds;
#[cfg(feature = "server")]
pub use server::{TestAnswer, TestServer};
#[cfg(feature = "rooms")]
pub use world::World;
