//! Tests of the store on both engines.
#![cfg(test)]

mod aggregations;
mod caches;
mod destinations;
mod device_lists;
mod history;
mod jobs;
mod keys;
mod member_words;
mod own_keys;
mod purge;
mod push_rules;
mod receipts;
mod relations;
mod restored;
mod snapshots;
mod state_map;
mod statements;
mod timeline;
