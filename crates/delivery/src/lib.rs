//! What happens after a change was acknowledged: the runner of durable jobs, and what goes to other servers.
//!
//! Whoever brings a job about notes it in the transaction of the change ([`starling_store::jobs`]). [`Jobs`] works on
//! what was noted, also by other processes and before a crash: piece by piece, so that a long job holds up no other, and
//! each piece as if it might be done twice.
//!
//! [`Sender`] reads the log of what goes to other servers ([`starling_store::outgoing`]), and sends it to each of them in
//! order.

mod jobs;
mod sender;

pub use jobs::Jobs;
pub use sender::{Sender, SenderParts};
