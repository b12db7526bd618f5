//! What a peer may cost: time, bytes, connections.

use std::time::Duration;

/// The largest body that a route takes unless it declares another limit, in bytes. A key upload or a to-device message for
/// a thousand devices stays below it.
pub(crate) const BODY_BYTES: usize = 4 << 20;

/// The same, of a route that anybody may call: it is read for strangers, and a login or a registration is small.
pub(crate) const ANONYMOUS_BODY_BYTES: usize = 64 << 10;

/// How long a body may take when the server says nothing else (in tests that call a router without a server).
pub(crate) const BODY_TIME: Duration = Duration::from_mins(1);

/// What a peer may cost. There are no settings for it: the defaults suit a public server; tests lower them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once, per listener. Further ones wait in the system's queue.
    pub connections: usize,
    /// Connections open at once from one address (IPv6: from one /64), per listener. Further ones are closed. Trusted
    /// proxies have no such limit.
    pub connections_per_address: usize,
    /// How long a TLS handshake may take.
    pub tls_handshake: Duration,
    /// How long a new connection may take to send the head of its first request.
    pub first_request: Duration,
    /// How long a connection may rest between requests; with HTTP/1.1, until the head of the next one is there.
    pub idle: Duration,
    /// How many bytes of its answers a peer must take within `idle`; who takes fewer counts as resting.
    pub least_taken: u64,
    /// How long the body of one request may take.
    pub body: Duration,
    /// The longest head of a request, in bytes.
    pub head_bytes: u32,
    /// Requests in flight at once on one HTTP/2 connection.
    pub streams: u32,
    /// How long requests in flight may take when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            connections_per_address: 512,
            tls_handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            least_taken: 4096,
            body: BODY_TIME,
            head_bytes: 64 << 10,
            streams: 128,
            drain: Duration::from_secs(10),
        }
    }
}
