//! Responses: JSON whose bytes many connections may share, and refusals.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::json;

/// A body of pieces that are sent as they are, one after the other.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    /// Exact: so it is sent with its length, and not in chunks.
    fn size_hint(&self) -> SizeHint {
        let length: usize = self.0.iter().map(Bytes::len).sum();
        SizeHint::with_exact(length as u64)
    }
}

/// Why a request isn't done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// There is no such path, method or room.
    NotFound,
    /// No access token.
    MissingToken,
    /// An access token that nobody has.
    UnknownToken,
    /// The user is not in the room.
    NotInRoom,
    /// A body that is not a JSON object.
    NotJson,
    /// A body that is too large.
    TooLarge,
    /// A `since` or `timeout` that is no number.
    NotANumber,
    /// The event can't be written.
    Failed,
}

impl Refusal {
    fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "M_NOT_FOUND"),
            Self::MissingToken => (StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN"),
            Self::UnknownToken => (StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN"),
            Self::NotInRoom => (StatusCode::FORBIDDEN, "M_FORBIDDEN"),
            Self::NotJson => (StatusCode::BAD_REQUEST, "M_NOT_JSON"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE"),
            Self::NotANumber => (StatusCode::BAD_REQUEST, "M_INVALID_PARAM"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN"),
        }
    }

    pub(super) fn response(self) -> Response<Pieces> {
        let (status, code) = self.status();
        let mut response = json(&json!({"errcode": code, "error": "refused"}));
        *response.status_mut() = status;
        response
    }
}

/// Status 200 and a value.
pub(super) fn json(value: &serde_json::Value) -> Response<Pieces> {
    pieces([value.to_string().into()])
}

/// Status 200 and JSON in pieces.
pub(super) fn pieces(pieces: impl Into<VecDeque<Bytes>>) -> Response<Pieces> {
    let mut response = Response::new(Pieces(pieces.into()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
