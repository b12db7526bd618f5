//! What the room domain's errors are in the API: one table per family.
//! <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>

use http::StatusCode;
use starling_events::JsonError;
use starling_http::MatrixError;
use starling_rooms::{AliasError, CreateError, ReadError, SendError, UpgradeError};

use crate::remote;

/// Sending events, and everything that is an event in the end.
///
/// A room that isn't here is answered as one that the user isn't in: so nobody learns which rooms exist.
pub(super) fn send(error: SendError) -> MatrixError {
    let message = error.to_string();
    match error {
        SendError::UnknownRoom => MatrixError::forbidden("You are not in this room"),
        SendError::Forbidden(_) | SendError::UserElsewhere(_) => MatrixError::forbidden(message),
        SendError::BadState(_) => MatrixError::new(StatusCode::FORBIDDEN, "M_BAD_STATE", message),
        SendError::InviteBlocked(_) => {
            MatrixError::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", message)
        }
        // The specification gives these two for joins between servers: there is no better word for the same here.
        SendError::ConditionsUnknown => MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_UNABLE_TO_AUTHORISE_JOIN",
            message,
        ),
        SendError::NobodyToLetIn => {
            MatrixError::new(StatusCode::BAD_REQUEST, "M_UNABLE_TO_GRANT_JOIN", message)
        }
        SendError::UncheckedKey => {
            MatrixError::new(StatusCode::BAD_REQUEST, "M_SERVER_NOT_TRUSTED", message)
        }
        SendError::NoGuests => MatrixError::guest_access_forbidden(message),
        SendError::UnknownUser(_) | SendError::UnknownEvent => MatrixError::not_found(message),
        SendError::TooLarge(_) => MatrixError::too_large(message),
        SendError::Content(error) => content(error),
        SendError::Malformed(_) => MatrixError::bad_json(message),
        SendError::Invalid(_) => MatrixError::invalid_param(message),
        SendError::BadAlias(_) => MatrixError::new(StatusCode::BAD_REQUEST, "M_BAD_ALIAS", message),
        SendError::NestedThread | SendError::ExcludesItself(_) => {
            MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message)
        }
        SendError::DuplicateAnnotation => {
            MatrixError::new(StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION", message)
        }
        SendError::IncompatibleVersion(version) => MatrixError::incompatible_room_version(&version),
        SendError::Remote(error) => remote::refusal(&error),
        SendError::Db(error) => MatrixError::internal(error),
    }
}

/// Coming in and going: of a room that isn't here and that nobody can be asked about, that is the answer.
pub(super) fn enter_or_leave(error: SendError) -> MatrixError {
    match error {
        SendError::UnknownRoom => MatrixError::not_found(
            "This server is not in the room, and knows no server that could let you in",
        ),
        other => send(other),
    }
}

/// Forgetting: who is still in the room gets the code that the specification shows.
pub(super) fn forget(error: SendError) -> MatrixError {
    match error {
        SendError::Forbidden(why) => MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", why),
        other => enter_or_leave(other),
    }
}

/// A body that is no content of an event.
pub(crate) fn content(error: JsonError) -> MatrixError {
    let message = SendError::Content(error).to_string();
    match error {
        JsonError::NotUtf8 | JsonError::Syntax(_) => MatrixError::not_json(message),
        JsonError::NotAnInteger(_)
        | JsonError::IntegerRange(_)
        | JsonError::FloatRange(_)
        | JsonError::DuplicateKey(_)
        | JsonError::TooDeep
        | JsonError::NotAnObject => MatrixError::bad_json(message),
    }
}

/// Creating a room.
pub(super) fn create(error: CreateError) -> MatrixError {
    let message = error.to_string();
    match error {
        CreateError::UnsupportedVersion(_) => MatrixError::unsupported_room_version(),
        CreateError::AliasTaken(_) => MatrixError::room_in_use(),
        CreateError::InvalidAlias(_) => MatrixError::invalid_param(message),
        CreateError::InvalidState(
            SendError::Forbidden(_)
            | SendError::UnknownUser(_)
            | SendError::UserElsewhere(_)
            | SendError::Malformed(_)
            | SendError::BadAlias(_)
            | SendError::ExcludesItself(_)
            | SendError::Invalid(_),
        ) => MatrixError::invalid_room_state(message),
        CreateError::Invite(error) => send(error),
        CreateError::InvalidState(other) => send(other),
        CreateError::Db(error) => MatrixError::internal(error),
    }
}

/// Upgrading a room.
pub(super) fn upgrade(error: UpgradeError) -> MatrixError {
    match error {
        UpgradeError::UnsupportedVersion(_) => MatrixError::unsupported_room_version(),
        UpgradeError::Send(error) => send(error),
    }
}

/// Reading a room. As for sending, an unknown room is one that the user isn't in.
pub(super) fn read(error: ReadError) -> MatrixError {
    let message = error.to_string();
    match error {
        ReadError::UnknownRoom | ReadError::NotAllowed => {
            MatrixError::forbidden("You are not in this room")
        }
        ReadError::NotFound => MatrixError::not_found(message),
        ReadError::NotAToken => not_a_token(),
        ReadError::Db(error) => MatrixError::internal(error),
    }
}

fn not_a_token() -> MatrixError {
    MatrixError::invalid_param(
        "A token of the request (`from`, `to`, `since` or `at`) is not a token of this server",
    )
}

/// Changing aliases.
pub(super) fn alias(error: AliasError) -> MatrixError {
    let message = error.to_string();
    match error {
        AliasError::UnknownRoom => MatrixError::forbidden("You are not in this room"),
        AliasError::UnknownAlias => MatrixError::not_found(message),
        AliasError::OtherServer => MatrixError::invalid_param(message),
        AliasError::Taken => MatrixError::new(StatusCode::CONFLICT, "M_UNKNOWN", message),
        AliasError::Forbidden(_) => MatrixError::forbidden(message),
        AliasError::Remote(error) => remote::refusal(&error),
        AliasError::Db(error) => MatrixError::internal(error),
    }
}

/// Reading what belongs to one event: of a room that isn't here there is none.
pub(super) fn event(error: starling_sync::Error) -> MatrixError {
    match error {
        starling_sync::Error::UnknownRoom => sync(starling_sync::Error::NotFound),
        other => sync(other),
    }
}

/// Reading what is told to clients.
pub(crate) fn sync(error: starling_sync::Error) -> MatrixError {
    let message = error.to_string();
    match error {
        starling_sync::Error::NotAToken(_) => not_a_token(),
        starling_sync::Error::UnknownRoom | starling_sync::Error::NotAllowed => {
            MatrixError::forbidden("You are not in this room")
        }
        starling_sync::Error::NotFound => MatrixError::not_found(message),
        starling_sync::Error::Db(error) => MatrixError::internal(error),
    }
}
