//! The parameters of the path.

use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::MatrixError;

/// The parts of the path in braces, percent-decoded, in order: one value, a tuple or a struct.
///
/// 400 `M_INVALID_PARAM` when one is no UTF-8 or not what its type takes.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, MatrixError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(refusal(error.into_kind()))
            }
            Err(rejection) => Err(MatrixError::internal(rejection)),
        }
    }
}

fn refusal(error: ErrorKind) -> MatrixError {
    match error {
        ErrorKind::InvalidUtf8InPathParam { key } => {
            MatrixError::invalid_param(format!("`{key}` in the path is not UTF-8"))
        }
        ErrorKind::DeserializeError { key, message, .. } => {
            MatrixError::invalid_param(format!("`{key}` in the path is not valid: {message}"))
        }
        // What the types of the handler say: they name what they are.
        ErrorKind::Message(message) => MatrixError::invalid_param(message),
        ErrorKind::ParseErrorAtKey { .. }
        | ErrorKind::ParseErrorAtIndex { .. }
        | ErrorKind::ParseError { .. } => {
            MatrixError::invalid_param("A part of the path is not the number that it must be")
        }
        // The handler asks for what the route does not have.
        other => MatrixError::internal(other.to_string()),
    }
}
