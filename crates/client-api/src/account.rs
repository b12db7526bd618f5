//! Endpoints of accounts, and of the server itself.

mod account_data;
mod capabilities;
mod cross_signing;
mod deactivate;
mod dehydrated;
mod devices;
mod fallback;
mod filter;
mod guests;
mod keys;
mod login;
mod login_token;
mod logout;
mod moderation;
mod openid;
mod password;
mod presence;
mod profile;
mod push_rules;
mod pushers;
mod refresh;
mod register;
mod room_keys;
mod tags;
mod third_party_ids;
mod third_party_networks;
mod to_device;
mod user_directory;
mod versions;
mod voip;
mod well_known;
mod whoami;

use starling_http::Routes;

use crate::State;

pub(crate) use presence::StateName;

/// Their routes.
pub(crate) fn routes() -> Routes<State> {
    versions::routes()
        .merge(well_known::routes())
        .merge(capabilities::routes())
        .merge(register::routes())
        .merge(login::routes())
        .merge(logout::routes())
        .merge(refresh::routes())
        .merge(whoami::routes())
        .merge(devices::routes())
        .merge(login_token::routes())
        .merge(password::routes())
        .merge(deactivate::routes())
        .merge(fallback::routes())
        .merge(third_party_ids::routes())
        .merge(third_party_networks::routes())
        .merge(user_directory::routes())
        .merge(voip::routes())
        .merge(openid::routes())
        .merge(moderation::routes())
        .merge(profile::routes())
        .merge(presence::routes())
        .merge(account_data::routes())
        .merge(tags::routes())
        .merge(filter::routes())
        .merge(push_rules::routes())
        .merge(pushers::routes())
        .merge(keys::routes())
        .merge(cross_signing::routes())
        .merge(to_device::routes())
        .merge(room_keys::routes())
        .merge(dehydrated::routes())
}

/// Those that other servers and services ask.
pub(crate) fn federation_routes() -> Routes<State> {
    openid::federation_routes()
}

/// What tells other servers where this one is.
pub(crate) fn delegation_routes() -> Routes<State> {
    well_known::server_routes()
}
