//! Tests of what clients are told, on both engines.
#![cfg(test)]

mod account_data;
mod cost;
mod filter;
mod ignored;
mod initial;
mod joined;
mod lazy_loading;
mod left;
mod messages;
mod poll;
mod purged;
mod server;
mod state;
mod summary;
mod to_device;
mod tokens;
mod unsigned;
