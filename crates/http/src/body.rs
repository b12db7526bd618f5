//! Reading the body of a request, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::MatrixError;
use crate::limits::{BODY_BYTES, BODY_TIME};

/// The largest body that a route takes, in bytes; it stands among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// How long a body may take; it stands among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyTime(pub(crate) Duration);

/// The body as it came. 413 `M_TOO_LARGE` when it is larger than the route takes, 408 when it is too slow.
#[derive(Debug, Clone)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = MatrixError;

    async fn from_request(request: Request, _: &S) -> Result<Self, MatrixError> {
        let (parts, body) = request.into_parts();
        read(&parts, body).await.map(Self)
    }
}

/// The whole body of a request, within the limits that stand among its extensions.
pub(crate) async fn read(parts: &Parts, body: Body) -> Result<Bytes, MatrixError> {
    let limit = parts.extensions.get();
    let limit = limit.map_or(BODY_BYTES, |BodyLimit(bytes)| *bytes);
    let time = parts.extensions.get();
    let time = time.map_or(BODY_TIME, |BodyTime(time)| *time);
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| usize::try_from(bytes).map_or(true, |bytes| bytes > limit)) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
        Err(_) => Err(MatrixError::body_timeout()),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        // The peer is gone, or broke the rules of HTTP.
        Ok(Err(_)) => Err(MatrixError::not_json("The request's body is incomplete")),
    }
}

fn too_large(limit: usize) -> MatrixError {
    MatrixError::too_large(format!("The request's body is larger than {limit} bytes"))
}
