//! Tests of finding users, on both engines.
#![cfg(test)]

mod users;
