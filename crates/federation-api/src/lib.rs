//! The server-server API: one file per endpoint or small family. <https://spec.matrix.org/v1.19/server-server-api/>
//!
//! * [`routes`] is the table of all endpoints. A handler parses, calls the domain, and maps its answer and its errors. All but
//!   those for keys and the version are called by servers that have signed the request
//!   ([`Auth::Server`](starling_http::Auth::Server)).
//! * [`State`] is what handlers work with; the binary makes it from [`Parts`].

mod device_keys;
mod devices;
mod error;
mod events;
mod hierarchy;
mod history;
mod invite;
mod keys;
mod membership;
mod notary;
mod own_keys;
mod pdus;
mod public_rooms;
mod query;
mod send;
mod state;
mod timestamp;
mod version;

use starling_http::Routes;

pub use state::{Parts, State};

/// Every endpoint.
#[must_use]
pub fn routes() -> Routes<State> {
    version::routes()
        .merge(keys::routes())
        .merge(notary::routes())
        .merge(query::routes())
        .merge(public_rooms::routes())
        .merge(hierarchy::routes())
        .merge(timestamp::routes())
        .merge(devices::routes())
        .merge(device_keys::routes())
        .merge(events::routes())
        .merge(history::routes())
        .merge(send::routes())
        .merge(membership::routes())
        .merge(invite::routes())
}
