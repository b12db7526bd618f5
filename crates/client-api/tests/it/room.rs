//! Rooms: by behaviour, through the router in process, on both engines.

mod aliases;
mod create;
mod directory;
mod hierarchy;
mod membership;
mod mutual_rooms;
mod read;
mod receipts;
mod reports;
mod send;
mod state;
mod summary;
mod sync;
mod versions;

use crate::caller;
