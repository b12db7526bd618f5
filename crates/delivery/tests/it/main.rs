//! Tests of what goes to other servers.
#![cfg(test)]

mod devices;
mod edus;
mod events;
mod refused;
mod support;
mod to_device;
