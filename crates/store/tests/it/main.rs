//! Tests of the store on both engines.
#![cfg(test)]

mod caches;
mod departures;
mod receipts;
mod snapshots;
mod state_map;
mod statements;
mod timeline;
