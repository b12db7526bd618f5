//! Tests of what clients are told, on both engines.
#![cfg(test)]

mod account_data;
mod filter;
mod joined;
mod left;
mod messages;
mod poll;
mod server;
mod state;
mod tokens;
mod unsigned;
