//! Tests of what goes to other servers.
#![cfg(test)]

mod edus;
mod events;
mod support;
