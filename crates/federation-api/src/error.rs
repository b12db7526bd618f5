//! What the domain's errors are in the API.

use http::StatusCode;
use starling_http::MatrixError;
use starling_rooms::{ResidentError, SendError, ServerReadError};

/// Reading rooms. A room that isn't here is answered as one that the server isn't in.
pub(crate) fn read(error: ServerReadError) -> MatrixError {
    let message = error.to_string();
    match error {
        ServerReadError::NotInRoom | ServerReadError::Denied => MatrixError::forbidden(message),
        ServerReadError::NotFound => MatrixError::not_found(message),
        ServerReadError::Db(error) => MatrixError::internal(error),
    }
}

/// Letting users of other servers in and out, and inviting those of this one.
pub(crate) fn resident(error: ResidentError) -> MatrixError {
    let message = error.to_string();
    let refused = |errcode| MatrixError::new(StatusCode::BAD_REQUEST, errcode, message.clone());
    match error {
        ResidentError::UnknownRoom | ResidentError::UnknownUser => MatrixError::not_found(message),
        ResidentError::Forbidden(_) => MatrixError::forbidden(message),
        ResidentError::IncompatibleVersion(version) => {
            MatrixError::incompatible_room_version(version.as_str())
        }
        ResidentError::UnsupportedVersion(version) => {
            MatrixError::incompatible_room_version(&version)
        }
        ResidentError::ConditionsUnknown => refused("M_UNABLE_TO_AUTHORISE_JOIN"),
        ResidentError::NobodyToLetIn => refused("M_UNABLE_TO_GRANT_JOIN"),
        ResidentError::InviteBlocked => {
            MatrixError::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", message)
        }
        ResidentError::Invalid(_) => MatrixError::invalid_param(message),
        ResidentError::Send(error) => match error {
            SendError::Remote(_) => MatrixError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", message),
            _ => MatrixError::forbidden(message),
        },
        ResidentError::Db(error) => MatrixError::internal(error),
    }
}
