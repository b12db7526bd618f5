//! JSON in and out: <https://spec.matrix.org/v1.19/client-server-api/#api-standards>

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::shape::Misfit;
use crate::{MatrixError, RawBody};

/// A JSON object, as the body of a request or of an answer.
///
/// In a request, whatever `Content-Type` says: 400 `M_NOT_JSON` for what is no JSON in UTF-8 (an empty body too), 400
/// `M_BAD_JSON` for what is no object or has another shape. In an answer: never cached, unless the handler says otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

/// As [`Json`], but an empty body counts as `{}`: for the few endpoints whose clients send none.
#[derive(Debug, Clone, Copy, Default)]
pub struct OptionalJson<T>(pub T);

/// JSON that is written already, as an answer.
#[derive(Debug, Clone)]
pub struct JsonBytes(pub Bytes);

impl JsonBytes {
    /// `{}`
    #[must_use]
    pub fn empty() -> Self {
        Self(Bytes::from_static(b"{}"))
    }
}

/// Parses a JSON object with the errors that the specification asks for; depth is bounded by `serde_json`.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MatrixError> {
    let text = std::str::from_utf8(bytes).map_err(|_| not_json())?;
    let is_object = text.trim_start().starts_with('{');
    if is_object && let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    // A wrong shape may be found before a wrong sign further on: JSON is what is JSON to its end.
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Err(not_json());
    }
    if !is_object {
        return Err(MatrixError::bad_json("The body must be a JSON object"));
    }
    // Only who errs pays for finding out where.
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let misfit = Misfit::new(error.path(), &error.inner().to_string());
        MatrixError::bad_json(misfit.message)
    })
}

fn not_json() -> MatrixError {
    MatrixError::not_json("The body is not JSON")
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = MatrixError;

    async fn from_request(request: Request, state: &S) -> Result<Self, MatrixError> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        parse_json(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = MatrixError;

    async fn from_request(request: Request, state: &S) -> Result<Self, MatrixError> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        parse_json(if bytes.is_empty() { b"{}" } else { &bytes }).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => JsonBytes(bytes.into()).into_response(),
            Err(error) => MatrixError::internal(error).into_response(),
        }
    }
}

impl IntoResponse for JsonBytes {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (headers, self.0).into_response()
    }
}
