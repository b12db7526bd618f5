//! Tests of the authorization rules (tables of a state, an event, and what the rules say) and of state resolution.
#![cfg(test)]

mod aliases;
mod auth_events;
mod auth_oracle;
mod create;
mod member;
mod model;
mod oracle;
mod power_levels;
mod redaction;
mod resolution;
mod resolution_deviations;
mod resolution_generator;
mod resolution_properties;
mod resolution_scenarios;
mod resolution_story;
mod send;
mod support;
mod third_party_invite;
mod versions;
