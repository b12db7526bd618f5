//! Tests of what clients need to encrypt, on both engines.
#![cfg(test)]

mod backup;
mod cross_signing;
mod device_lists;
mod faults;
mod to_device;
