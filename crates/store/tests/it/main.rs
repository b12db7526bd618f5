//! Tests of the store on both engines.
#![cfg(test)]

mod snapshots;
mod statements;
mod timeline;
