//! Errors as the Matrix APIs answer them: <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::BoxError;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::Json;

/// A standard error response.
pub struct MatrixError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The error code, such as `M_FORBIDDEN`.
    pub errcode: &'static str,
    /// The text for people.
    pub message: String,
    /// Further fields of the answer.
    pub fields: Map<String, Value>,
    /// When the caller may come again.
    retry_after: Option<Duration>,
    /// What went wrong within; logged, never answered.
    cause: Option<BoxError>,
}

impl MatrixError {
    /// An error of a code that has no function of its own here.
    pub fn new(status: StatusCode, errcode: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            errcode,
            message: message.into(),
            fields: Map::new(),
            retry_after: None,
            cause: None,
        }
    }

    /// With a further field in the answer.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// 500 `M_UNKNOWN`: something failed within. The cause and its causes are logged; the caller learns nothing of them.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        let error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "M_UNKNOWN",
            "Internal server error",
        );
        Self {
            cause: Some(cause.into()),
            ..error
        }
    }

    /// 400 `M_BAD_JSON`: JSON of another shape.
    pub fn bad_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", message)
    }

    /// 400 `M_NOT_JSON`: no JSON.
    pub fn not_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", message)
    }

    /// 400 `M_INVALID_PARAM`: a parameter has a wrong value.
    pub fn invalid_param(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", message)
    }

    /// 400 `M_MISSING_PARAM`: a parameter is missing.
    pub fn missing_param(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", message)
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", message)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", message)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message)
    }

    /// 401 `M_UNAUTHORIZED`: a server has not proven who it is.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", message)
    }

    /// 401 `M_MISSING_TOKEN`: no access token.
    #[must_use]
    pub fn missing_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "M_MISSING_TOKEN",
            "Missing access token",
        )
    }

    /// 401 `M_UNKNOWN_TOKEN`; with a soft logout the client keeps its data and logs in again.
    #[must_use]
    pub fn unknown_token(soft_logout: bool) -> Self {
        let error = Self::new(
            StatusCode::UNAUTHORIZED,
            "M_UNKNOWN_TOKEN",
            "Unknown access token",
        );
        if soft_logout {
            error.with("soft_logout", true)
        } else {
            error
        }
    }

    /// 401 `M_UNKNOWN_TOKEN`, of a refresh token: the client has to log in anew.
    #[must_use]
    pub fn unknown_refresh_token() -> Self {
        let message = "The refresh token is unknown or was used already";
        Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", message)
    }

    /// 401 `M_USER_LOCKED`: <https://spec.matrix.org/v1.19/client-server-api/#account-locking>
    #[must_use]
    pub fn user_locked() -> Self {
        let error = Self::new(
            StatusCode::UNAUTHORIZED,
            "M_USER_LOCKED",
            "This account has been locked",
        );
        error.with("soft_logout", true)
    }

    /// 403 `M_USER_SUSPENDED`: <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>
    #[must_use]
    pub fn user_suspended() -> Self {
        let message = "You cannot perform this action while suspended.";
        Self::new(StatusCode::FORBIDDEN, "M_USER_SUSPENDED", message)
    }

    /// 403 `M_USER_DEACTIVATED`.
    #[must_use]
    pub fn user_deactivated() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "M_USER_DEACTIVATED",
            "This account has been deactivated",
        )
    }

    /// 403 `M_GUEST_ACCESS_FORBIDDEN`.
    pub fn guest_access_forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", message)
    }

    /// 429 `M_LIMIT_EXCEEDED`, with the time to wait: <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>
    #[must_use]
    pub fn limit_exceeded(retry_after: Duration) -> Self {
        let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        let error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "M_LIMIT_EXCEEDED",
            "Too many requests",
        );
        Self {
            retry_after: Some(retry_after),
            ..error
        }
        .with("retry_after_ms", millis)
    }

    /// 404 `M_UNRECOGNIZED`: no such endpoint.
    #[must_use]
    pub fn unrecognized() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "M_UNRECOGNIZED",
            "Unrecognized request",
        )
    }

    /// 405 `M_UNRECOGNIZED`: the endpoint has no such method.
    #[must_use]
    pub fn unrecognized_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "M_UNRECOGNIZED",
            "Unrecognized request method",
        )
    }

    /// 408 `M_UNKNOWN`: the body did not come in time.
    #[must_use]
    pub fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "M_UNKNOWN",
            "The request's body did not arrive in time",
        )
    }

    /// 400 `M_USER_IN_USE`: the name is taken.
    #[must_use]
    pub fn user_in_use() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "M_USER_IN_USE",
            "User ID already taken",
        )
    }

    /// 400 `M_INVALID_USERNAME`: no valid name for a user.
    pub fn invalid_username(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_USERNAME", message)
    }

    /// 400 `M_ROOM_IN_USE`: the alias is taken.
    #[must_use]
    pub fn room_in_use() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "M_ROOM_IN_USE",
            "Room alias already taken",
        )
    }

    /// 400 `M_UNSUPPORTED_ROOM_VERSION`: a room of this version cannot be made here.
    #[must_use]
    pub fn unsupported_room_version() -> Self {
        let message = "This server does not support that room version";
        Self::new(
            StatusCode::BAD_REQUEST,
            "M_UNSUPPORTED_ROOM_VERSION",
            message,
        )
    }

    /// 400 `M_INCOMPATIBLE_ROOM_VERSION`: a room of this version cannot be joined from here.
    #[must_use]
    pub fn incompatible_room_version(version: &str) -> Self {
        let message = "This server does not support the version of that room";
        let error = Self::new(
            StatusCode::BAD_REQUEST,
            "M_INCOMPATIBLE_ROOM_VERSION",
            message,
        );
        error.with("room_version", version)
    }

    /// 403 `M_BAD_STATE`: the change does not fit the state, such as lifting a ban that there is not.
    pub fn bad_state(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_BAD_STATE", message)
    }

    /// 400 `M_INVALID_ROOM_STATE`: the state that a new room was to begin with is not valid.
    pub fn invalid_room_state(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_ROOM_STATE", message)
    }

    /// 400 `M_EXCLUSIVE`: the name is reserved by an application service.
    pub fn exclusive(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_EXCLUSIVE", message)
    }
}

impl fmt::Debug for MatrixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            errcode,
            message,
            fields,
            retry_after,
            cause,
        } = self;
        let mut shown = f.debug_struct("MatrixError");
        shown
            .field("status", status)
            .field("errcode", errcode)
            .field("message", message)
            .field("fields", fields);
        shown
            .field("retry_after", retry_after)
            .field("cause", cause)
            .finish()
    }
}

impl IntoResponse for MatrixError {
    fn into_response(self) -> Response {
        let Self {
            status,
            errcode,
            message,
            mut fields,
            retry_after,
            cause,
        } = self;
        if let Some(cause) = cause {
            tracing::error!(error = chain(cause.as_ref()), "request failed");
        }
        fields.insert("errcode".to_owned(), errcode.into());
        fields.insert("error".to_owned(), message.into());
        let mut response = (status, Json(fields)).into_response();
        response.extensions_mut().insert(ErrorCode(errcode));
        if let Some(wait) = retry_after {
            let seconds = wait.as_millis().div_ceil(1000);
            response
                .headers_mut()
                .insert(RETRY_AFTER, header_number(seconds));
        }
        response
    }
}

/// The error code of an answer, for the request log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

fn header_number(number: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX))
}

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.extend([": ", &error.to_string()]);
        cause = error.source();
    }
    text
}
