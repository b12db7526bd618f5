//! State resolution of large rooms: ours, and ruma's called in two ways.
//!
//! - *ours*: the structural difference of the forks' persistent maps, then `resolve`. Events are at hand.
//! - *documented*: ruma's `resolve` as its documentation says: each fork's full state map and full auth chain.
//! - *trimmed*: ruma's `resolve` with the least that gives the right result at the conflicted keys: state maps with
//!   only those and what their events need, and the auth difference instead of auth chains.
//!
//! What ruma's takes is made beforehand and not timed: full maps and chains, and for *trimmed* even the difference that
//! is most of the work. Events are at hand for it too, parsed as far as it wants them parsed.

pub mod forks;
pub mod full_conflicted_set;
pub mod history;
pub mod oracle;
pub mod run;

use serde::{Serialize, Serializer};
use starling_events::RoomVersion;

pub use run::{Measured, Sample, agree, measure};

/// The size of a room and of its conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The room's version.
    #[serde(serialize_with = "name_of")]
    pub version: RoomVersion,
    /// Members before the fork.
    pub members: usize,
    /// States to be resolved.
    pub forks: usize,
    /// Keys at which they differ.
    pub conflicted: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "this is how Serde calls it"
)]
fn name_of<S: Serializer>(version: &RoomVersion, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(version.as_str())
}
