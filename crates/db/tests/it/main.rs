//! Tests of the storage engines, each on SQLite and PostgreSQL unless its module is named after one of them.
#![cfg(test)]

mod gate;
mod migrations;
mod positions;
mod postgres;
mod proxy;
mod reads;
mod schema;
mod shutdown;
mod simulated;
mod sqlite;
mod values;
mod writes;
