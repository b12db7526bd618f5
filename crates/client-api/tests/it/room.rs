//! Rooms: by behaviour, through the router in process, on both engines.

mod aliases;
mod context;
mod create;
mod directory;
mod hierarchy;
mod membership;
mod mutual_rooms;
mod read;
mod receipts;
mod redactions;
mod relations;
mod reports;
mod send;
mod state;
mod summary;
mod sync;
mod typing;
mod versions;
mod visibility;

use crate::caller;
