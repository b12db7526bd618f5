//! What other servers refuse, as clients are told of it.

use http::StatusCode;
use serde::Deserialize;
use starling_http::MatrixError;
use starling_rooms::{OutboundError, RemoteError};

/// What other servers say that clients may act on. What else they say is of their conversation with this server, such as
/// that a signature is wrong or a token is missing.
const TOLD: &[&str] = &[
    "M_BAD_ALIAS",
    "M_BAD_STATE",
    "M_FORBIDDEN",
    "M_GUEST_ACCESS_FORBIDDEN",
    "M_INCOMPATIBLE_ROOM_VERSION",
    "M_INVITE_BLOCKED",
    "M_NOT_FOUND",
    "M_UNABLE_TO_AUTHORISE_JOIN",
    "M_UNABLE_TO_GRANT_JOIN",
    "M_UNSUPPORTED_ROOM_VERSION",
];

/// What another server refused, or that it could not be asked.
pub(crate) fn refusal(error: &RemoteError) -> MatrixError {
    let RemoteError::Refused {
        server,
        status,
        errcode,
        error: words,
        body,
    } = error
    else {
        return MatrixError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", unanswered(error));
    };
    let message = format!("{server}: {words}");
    match TOLD.iter().find(|told| *told == errcode) {
        Some(told) if status.is_client_error() => {
            let answer = MatrixError::new(*status, told, message);
            match room_version(body) {
                Some(version) => answer.with("room_version", version),
                None => answer,
            }
        }
        _ => MatrixError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", message),
    }
}

/// Why another server gave no answer, as far as its administrator and this one's need to know where to look. Addresses, and what
/// stands on the way there, are in the log.
fn unanswered(error: &RemoteError) -> String {
    let (server, why) = match error {
        RemoteError::BackedOff { server, .. } => (server, "it could not be reached a moment ago"),
        RemoteError::Malformed { server, .. } | RemoteError::Refused { server, .. } => {
            (server, "it gave no proper answer")
        }
        RemoteError::Unreachable { server, error } => (server, unreachable(error)),
    };
    format!("{server}: {why}")
}

fn unreachable(error: &OutboundError) -> &'static str {
    match error {
        OutboundError::NoAddress(_) => "its name leads to no address",
        OutboundError::RefusedAddress { .. } => {
            "its name leads to a private address, where this server doesn't go"
        }
        OutboundError::Resolver(_) => "its name could not be looked up",
        OutboundError::Connection(_) => {
            "no connection could be made: it is down, or its certificate is not valid"
        }
        OutboundError::Timeout(_) => "it did not answer in time",
        OutboundError::TooLarge(_) => "its answer is too large",
        OutboundError::Request(_) => "the request could not be sent",
    }
}

#[derive(Deserialize)]
struct Versioned {
    room_version: String,
}

/// The version of the room that a refusal names.
fn room_version(body: &[u8]) -> Option<String> {
    let refusal: Versioned = serde_json::from_slice(body).ok()?;
    Some(refusal.room_version).filter(|version| version.len() <= 32)
}
