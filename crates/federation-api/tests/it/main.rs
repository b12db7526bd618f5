//! Tests of the server-server API: by behaviour, through the router in process, on both engines.
#![cfg(test)]

mod device_keys;
mod device_lists;
mod events;
mod history;
mod invite;
mod keys;
mod lists;
mod membership;
mod queries;
mod routes;
mod send;
mod signed;
mod simulation;
mod support;
mod to_device;
