//! Tests of accounts, on both engines.
#![cfg(test)]

mod account_data;
mod filters;
mod login;
mod manage;
mod profile;
mod register;
mod server;
mod sessions;
mod shared_secret;
mod world;
