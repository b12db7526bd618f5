//! What can go wrong on the way to another server, and there.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use ruma_common::OwnedServerName;
use thiserror::Error;

use crate::ResolverError;

/// Why a request got no answer.
#[derive(Debug, Clone, Error)]
pub enum OutboundError {
    /// The name leads nowhere.
    #[error("{0} has no address")]
    NoAddress(String),
    /// All addresses are such that no connection may go there.
    #[error("{host} leads to {address}, which outbound.allow_private_addresses = false excludes")]
    RefusedAddress {
        /// The name.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// The name servers don't answer.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer is longer than was asked for.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// The request cannot be written, for example because its path is no path.
    #[error("the request cannot be sent: {0}")]
    Request(String),
}

/// Why another server didn't do what it was asked for.
#[derive(Debug, Clone, Error)]
pub enum RemoteError {
    /// It failed lately, and is left alone for now.
    #[error("{server} was not reachable lately, and is left alone until {retry_at_ms}")]
    BackedOff {
        /// The server.
        server: OwnedServerName,
        /// Until when, in milliseconds since 1970.
        retry_at_ms: i64,
    },
    /// It couldn't be reached.
    #[error("{server}: {error}")]
    Unreachable {
        /// The server.
        server: OwnedServerName,
        /// Why.
        #[source]
        error: OutboundError,
    },
    /// It answered with an error.
    #[error("{server} says {status} {errcode}: {error}")]
    Refused {
        /// The server.
        server: OwnedServerName,
        /// The HTTP status.
        status: StatusCode,
        /// The Matrix error code; `M_UNKNOWN` where it gave none.
        errcode: String,
        /// Its words, at most some hundred bytes.
        error: String,
        /// The whole answer, which may say more (such as `room_version`).
        body: bytes::Bytes,
    },
    /// It answered with what cannot be an answer.
    #[error("{server} answered with something else than was asked for: {problem}")]
    Malformed {
        /// The server.
        server: OwnedServerName,
        /// What is wrong with it.
        problem: String,
    },
}

/// Refusals that no other server would take back.
const FINAL: &[&str] = &[
    "M_FORBIDDEN",
    "M_INCOMPATIBLE_ROOM_VERSION",
    "M_INVITE_BLOCKED",
    "M_UNSUPPORTED_ROOM_VERSION",
];

impl RemoteError {
    /// The status with which the other server refused, if it did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the refusal is of the room or of the user whom it is about, rather than of this one server: others who are
    /// asked the same would say the same.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused { errcode, .. } => FINAL.contains(&errcode.as_str()),
            _ => false,
        }
    }

    /// Whether the other server says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether the other server may know only an older form of what it was asked: it says that it doesn't know the
    /// endpoint, or that the request is wrong.
    #[must_use]
    pub fn may_be_older(&self) -> bool {
        let status = self.status();
        status == Some(StatusCode::BAD_REQUEST) || status == Some(StatusCode::NOT_FOUND)
    }

    /// Whether the other server doesn't know the endpoint: an older server, or another path must be tried.
    #[must_use]
    pub fn is_unknown_endpoint(&self) -> bool {
        match self {
            // Some servers from before `M_UNRECOGNIZED` say 404 with no Matrix error at all, or 400.
            Self::Refused {
                status, errcode, ..
            } => {
                errcode == "M_UNRECOGNIZED"
                    || (errcode == "M_UNKNOWN"
                        && matches!(
                            *status,
                            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
                        ))
            }
            _ => false,
        }
    }
}
