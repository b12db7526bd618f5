//! Why a command failed.

use std::error::Error;
use std::fmt;

use matrix_sdk::HttpError;
use matrix_sdk::ruma::api::error::Error as ApiError;
use serde::Serialize;

/// An error of the library, as a test wants it.
#[derive(Serialize)]
pub(crate) struct Failure {
    errcode: Option<String>,
    status: Option<u16>,
    message: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            errcode: None,
            status: None,
            message: message.into(),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let refused = answer_of(&error);
        Self {
            errcode: refused
                .and_then(|answer| answer.error_kind())
                .map(|kind| kind.errcode().to_string()),
            status: refused.map(|answer| answer.status_code.as_u16()),
            message: error.to_string(),
        }
    }
}

/// The server's answer, where an error comes from one.
fn answer_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ApiError> {
    let of_sdk = error
        .downcast_ref::<matrix_sdk::Error>()
        .and_then(matrix_sdk::Error::as_client_api_error);
    let of_request = || {
        error
            .downcast_ref::<HttpError>()
            .and_then(HttpError::as_client_api_error)
    };
    of_sdk
        .or_else(of_request)
        .or_else(|| error.source().and_then(answer_of))
}
