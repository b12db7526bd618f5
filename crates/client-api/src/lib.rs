//! The client-server API: one file per endpoint or small family. <https://spec.matrix.org/v1.19/client-server-api/>
//!
//! * [`routes`] is the table of all endpoints: `account/` holds those of accounts and of the server itself, `room/` those
//!   of rooms and of what is told of them. A handler parses, calls the domain, and maps its answer and its errors.
//! * [`State`] is what handlers work with; the binary makes it from [`Parts`].
//!
//! A further endpoint: a file with its request and answer as structs of their own, its handler, and its line in the
//! `routes` function of that file; its tests in `tests/it`.

mod account;
mod identifier;
mod interactive_auth;
mod remote;
mod room;
mod session;
mod state;

use starling_http::Routes;

pub use state::{Parts, State};

/// Every endpoint.
#[must_use]
pub fn routes() -> Routes<State> {
    account::routes().merge(room::routes())
}

/// The endpoint by which other servers find this one, for listeners that serve them and no clients: it is among [`routes`].
#[must_use]
pub fn delegation_routes() -> Routes<State> {
    account::delegation_routes()
}

/// The endpoints of the server-server API that are of accounts, for listeners that serve it.
#[must_use]
pub fn federation_routes() -> Routes<State> {
    account::federation_routes()
}
