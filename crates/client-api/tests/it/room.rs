//! Rooms: by behaviour, through the router in process, on both engines.

mod aliases;
mod context;
mod create;
mod directory;
mod elsewhere;
mod forget;
mod hierarchy;
mod initial_sync;
mod invite_permission;
mod knock;
mod membership;
mod mutual_rooms;
mod notifications;
mod read;
mod receipts;
mod redactions;
mod relations;
mod reports;
mod restricted;
mod send;
mod state;
mod summary;
mod sync;
mod third_party_invites;
mod typing;
mod unread;
mod unread_oracle;
mod upgrade;
mod versions;
mod visibility;

use crate::caller;
