//! What happens after a change was acknowledged: the runner of durable jobs.
//!
//! Whoever brings a job about notes it in the transaction of the change ([`starling_store::jobs`]). [`Jobs`] works on
//! what was noted, also by other processes and before a crash: piece by piece, so that a long job holds up no other, and
//! each piece as if it might be done twice.

mod jobs;

pub use jobs::Jobs;
