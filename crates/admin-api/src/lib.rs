//! The admin API: what tools of operators call.
//!
//! [`routes`] is the table of all endpoints, for listeners that serve `admin`; [`State`] is what they work with.

mod register;
mod state;

use starling_http::Routes;

pub use state::State;

/// Every endpoint.
#[must_use]
pub fn routes() -> Routes<State> {
    register::routes()
}
