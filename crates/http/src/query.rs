//! The parameters of the query string.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::MatrixError;

/// The query string, as a struct; a field that is a `Vec` takes a parameter that stands several times.
///
/// 400 `M_MISSING_PARAM` when a parameter without a default is missing, else 400 `M_INVALID_PARAM`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MatrixError> {
        match serde_html_form::from_str(parts.uri.query().unwrap_or_default()) {
            Ok(query) => Ok(Self(query)),
            Err(error) => {
                let message = error.to_string();
                // Serde has one text for a missing field, and no kind.
                let is_missing = message.starts_with("missing field");
                Err(if is_missing {
                    MatrixError::missing_param(message)
                } else {
                    MatrixError::invalid_param(message)
                })
            }
        }
    }
}
