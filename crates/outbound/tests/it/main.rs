//! Tests of outgoing connections, with servers on loopback, an authority of certificates, and name servers that are a table.
#![cfg(test)]

mod client;
mod discovery;
mod key_ring;
mod support;
mod tls;
