//! Rooms: by behaviour, through the router in process, on both engines.

mod aliases;
mod create;
mod membership;
mod read;
mod receipts;
mod send;
mod state;
mod sync;
mod versions;

use crate::caller;
