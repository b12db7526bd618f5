//! Tests of the authorization rules: tables of a state, an event, and what the rules say.
#![cfg(test)]

mod auth_events;
mod create;
mod member;
mod power_levels;
mod redaction;
mod send;
mod support;
mod third_party_invite;
