//! The net under handlers: a panic is a 500 and a line in the log, and the connection lives.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::MatrixError;

/// Runs a handler; its panic becomes an answer.
pub(crate) async fn catch(handler: impl Future<Output = Response>) -> Response {
    // What a handler shares with others is behind locks that a panic does not poison, or in transactions that roll back.
    match AssertUnwindSafe(handler).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            MatrixError::internal(format!("panic: {}", message(panic.as_ref()))).into_response()
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
