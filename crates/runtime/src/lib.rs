//! Time, chance and CPU-heavy work as parameters, so that a simulation repeats by its seed.
//!
//! Everything below the binary takes these three by value (each is cheap to clone):
//!
//! * [`Clock`]: the time of day, and a monotonic clock;
//! * [`Chance`]: random bytes, numbers and tokens;
//! * [`Cpu`]: the one place that moves work of many milliseconds off the threads that serve requests.
//!
//! The task spawner is tokio's: in a simulation the whole program runs on one current-thread runtime with a paused
//! clock, on which `tokio::spawn` and `tokio::time` are deterministic.

mod chance;
mod clock;
mod cpu;

pub use chance::Chance;
pub use clock::Clock;
pub use cpu::{Cpu, CpuError};
