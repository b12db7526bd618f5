//! The way of a local event: built on the room's head and checked there (`build.rs`), queued and written
//! (`persist.rs`), acknowledged after the commit. What another server must take first is built
//! aside (`aside.rs`), and so is what a room's policy server must sign (`guarded.rs`). A room that replaces another comes with the other's end (`replace.rs`).
//!
//! The head's lock (`head.rs`) is held while one event is built, signed and queued: never across the commit, never over
//! I/O. The next event builds on the last at once; many events of a busy room share one commit, and each is
//! acknowledged, in order, after it.
//!
//! Lock order: the map of heads, then a head. The writer takes a head's lock only after a commit, for a moment.

mod aside;
mod build;
mod guarded;
mod head;
mod persist;
mod replace;

pub use build::Draft;
pub(crate) use build::{CLOSED, GUEST_ACCESS, Tip, is_closed};
pub(crate) use head::{Appending, Extras, Head, Heads, Stored, lets_guests_join, names_of};
pub(crate) use persist::{Chain, Link};
