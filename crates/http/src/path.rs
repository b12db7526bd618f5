//! The parameters of the path.

use axum::extract::FromRequestParts;
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
            // The handler asks for what the route does not have.
            Err(rejection) if rejection.status().is_server_error() => {
                Err(MatrixError::internal(rejection))
            }
            Err(rejection) => Err(MatrixError::invalid_param(rejection.body_text())),
        }
    }
}
