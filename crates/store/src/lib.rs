//! The only crate with SQL: one file per family of tables, caches and room snapshots over them, and the one type of
//! tokens.
//!
//! Functions are named by resource, then verb, and take the transaction; what belongs together is written by one body
//! of `Db::write`. Look-ups return an `Option`. What a row means is said in `migrations/`.

pub mod account_data;
pub mod accounts;
pub mod aggregations;
pub mod aliases;
pub mod append;
pub mod auth_graph;
pub mod backfill;
pub mod bundles;
mod cache;
pub mod client_view;
pub mod cross_signing;
pub mod destinations;
pub mod device_keys;
pub mod device_lists;
pub mod devices;
pub mod erased;
pub mod events;
pub mod filters;
mod fork_members;
pub mod gap_times;
pub mod gaps;
pub mod heroes;
pub mod history;
pub mod ignored;
pub mod inbox;
pub mod interactive_sessions;
pub mod jobs;
pub mod key_backup;
mod last_changes;
pub mod login_tokens;
pub mod memberships;
pub mod names;
mod numbers;
pub mod one_time_keys;
pub mod openid_tokens;
pub mod outgoing;
pub mod outliers;
pub mod own_keys;
pub mod presence;
pub mod profiles;
pub mod purge;
pub mod push_rules;
pub mod pushers;
pub mod receipts;
pub mod redactions;
pub mod registration_tokens;
pub mod relations;
pub mod remote_devices;
pub mod remote_invites;
pub mod reports;
pub mod room_details;
pub mod room_servers;
pub mod rooms;
mod schema;
pub mod served;
pub mod server;
pub mod server_keys;
pub mod snapshots;
pub mod state_map;
mod store;
mod threads;
pub mod timeline;
pub mod to_device;
pub mod tokens;
pub mod transactions;
pub mod unread;
pub mod user_words;
mod varint;

pub use cache::CacheSizes;
pub use numbers::{DeviceNum, EventNum, KeyNum, RoomNum, SnapshotNum, TypeNum, UserNum};
pub use schema::{SCHEMA, statements};
pub use store::Store;
