//! Tests of the store on both engines.
#![cfg(test)]

mod caches;
mod snapshots;
mod statements;
mod timeline;
