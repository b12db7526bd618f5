//! The parameters of the query string.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::MatrixError;
use crate::shape::Misfit;

/// The query string, as a struct; a field that is a `Vec` takes a parameter that stands several times.
///
/// 400 `M_MISSING_PARAM` when a parameter without a default is missing, else 400 `M_INVALID_PARAM`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MatrixError> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        if let Ok(query) = serde_html_form::from_bytes(query) {
            return Ok(Self(query));
        }
        // Only who errs pays for finding out where.
        let form = serde_html_form::Deserializer::from_bytes(query);
        let again = serde_path_to_error::deserialize(form);
        again.map(Self).map_err(|error| {
            let Misfit {
                is_missing,
                message,
            } = Misfit::new(error.path(), &error.inner().to_string());
            if is_missing {
                MatrixError::missing_param(message)
            } else {
                MatrixError::invalid_param(message)
            }
        })
    }
}
