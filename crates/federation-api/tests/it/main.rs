//! Tests of the server-server API: by behaviour, through the router in process, on both engines.
#![cfg(test)]

mod events;
mod history;
mod keys;
mod lists;
mod queries;
mod routes;
mod signed;
mod support;
