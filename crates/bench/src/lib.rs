//! Measures whole servers beside Synapse and the least that any server must do, and state resolution and events against
//! another implementation, ruma's, in the same run.
//!
//! A plain program, not a framework for benchmarks: what counts are ratios between implementations on the same input,
//! and that all of them give the same result, which is checked before anything is reported. `docs/benchmarks.md` says
//! how to run it and how to read what it prints.

pub mod events;
pub mod floor;
pub mod instructions;
pub mod resident;
pub mod room;
pub mod servers;
pub mod state_resolution;
pub mod table;
pub mod timing;

use thiserror::Error;

/// Implementations give different results, so that comparing their time means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: {difference}")]
pub struct Disagreement {
    /// What was computed.
    pub what: String,
    /// How the results differ.
    pub difference: String,
}
