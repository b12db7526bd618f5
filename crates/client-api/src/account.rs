//! Endpoints of accounts, and of the server itself.

mod account_data;
mod capabilities;
mod filter;
mod login;
mod logout;
mod profile;
mod push_rules;
mod register;
mod versions;
mod well_known;
mod whoami;

use starling_http::Routes;

use crate::State;

/// Their routes.
pub(crate) fn routes() -> Routes<State> {
    versions::routes()
        .merge(well_known::routes())
        .merge(capabilities::routes())
        .merge(register::routes())
        .merge(login::routes())
        .merge(logout::routes())
        .merge(whoami::routes())
        .merge(profile::routes())
        .merge(account_data::routes())
        .merge(filter::routes())
        .merge(push_rules::routes())
}
