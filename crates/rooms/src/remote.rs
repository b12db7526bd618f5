//! Other servers, as the domain sees them: requests with typed answers, one file per family, and the check of events
//! that came from them.
//!
//! Nothing here changes a room. An answer is bounded in size and time, and believed as far as its form goes: who uses
//! the events in it has them checked ([`Remote::check`]) first.

mod check;
mod events;
mod handshakes;
mod identity;
mod invites;
mod policy;
mod queries;
mod request;

use bytes::Bytes;
use ruma_common::ServerName;
use serde::de::DeserializeOwned;
use starling_db::Error;
use starling_outbound::{FederationClient, KeyRing, Request};
use starling_runtime::Cpu;

pub use check::Refused;
pub use events::{EventAtTime, Missing, StateIds, WholeState};
pub use handshakes::{Handshake, JoinAnswer, KnockAnswer, Template};
pub use queries::{AliasAnswer, Hierarchy, PublicRooms};
pub use starling_outbound::{OutboundError, RemoteError};

/// Answers of more bytes than this are parsed off the threads that serve requests.
const PARSED_IN_PLACE: usize = 256 << 10;

/// Asks other servers, and checks what they say. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    client: FederationClient,
    keys: KeyRing,
    cpu: Cpu,
}

impl Remote {
    /// Requests go by `client`; signatures are checked with keys from `keys`, many of them on `cpu`.
    #[must_use]
    pub fn new(client: FederationClient, keys: KeyRing, cpu: Cpu) -> Self {
        Self { client, keys, cpu }
    }

    /// Does CPU-heavy work off the threads that serve requests.
    ///
    /// # Errors
    /// When too much of it is waiting.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.cpu.run(work).await;
        done.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Whether the server failed lately.
    pub(crate) fn is_failing(&self, server: &ServerName) -> bool {
        self.left_alone(server).is_some()
    }

    /// Why the server isn't to be asked now what nobody waits for, if it failed lately.
    pub(crate) fn left_alone(&self, server: &ServerName) -> Option<RemoteError> {
        let retry_at_ms = self.client.health().retry_at(server)?;
        Some(RemoteError::BackedOff {
            server: server.to_owned(),
            retry_at_ms,
        })
    }

    /// The answer to a request, as what it should be.
    async fn ask<T: DeserializeOwned + Send + 'static>(
        &self,
        server: &ServerName,
        request: Request,
    ) -> Result<T, RemoteError> {
        let body = self.client.request(server, request).await?;
        let parsed = if body.len() <= PARSED_IN_PLACE {
            parse(&body)
        } else {
            let parsed = self.cpu.run(move || parse(&body)).await;
            parsed.map_err(|error| RemoteError::Unreachable {
                server: server.to_owned(),
                error: OutboundError::Request(error.to_string()),
            })?
        };
        parsed.map_err(|error| malformed(server, error.to_string()))
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}

/// The server answered with what cannot be an answer.
pub(crate) fn malformed(server: &ServerName, problem: impl Into<String>) -> RemoteError {
    RemoteError::Malformed {
        server: server.to_owned(),
        problem: problem.into(),
    }
}
