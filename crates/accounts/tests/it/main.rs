//! Tests of accounts, on both engines.
#![cfg(test)]

mod account_data;
mod filters;
mod guests;
mod interactive_auth;
mod login;
mod login_tokens;
mod manage;
mod profile;
mod register;
mod registration_tokens;
mod server;
mod sessions;
mod shared_secret;
mod world;
