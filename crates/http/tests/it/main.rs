//! The edge, through its router and through real sockets.
#![cfg(test)]

mod address;
mod auth;
mod extractors;
mod fixture;
mod log;
mod metrics;
mod rate_limits;
mod router;
mod servers;
mod sockets;
mod stopping;
mod tls;
