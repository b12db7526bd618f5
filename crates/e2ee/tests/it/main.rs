//! Tests of what clients need to encrypt, on both engines.
#![cfg(test)]

mod backup;
mod faults;
mod to_device;
