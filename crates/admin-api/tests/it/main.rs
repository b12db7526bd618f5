//! Tests of the admin API: by behaviour, through the router in process.
#![cfg(test)]

mod register;
