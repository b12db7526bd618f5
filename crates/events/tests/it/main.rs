//! Tests of events: the specification's vectors, tables of bad input, and agreement with another implementation.
#![cfg(test)]

mod canonical_json;
mod client_format;
mod id;
mod keys;
mod pdu;
mod properties;
mod redact;
mod request_auth;
mod server_keys;
mod sign;
mod support;
mod vectors;
