//! Tests of the client-server API: by behaviour, through the router in process, on both engines.
#![cfg(test)]

mod account;
mod bad_input;
mod caller;
mod load;
mod random_requests;
mod rate_limits;
mod room;
mod routes;
