//! The few pages for people: what runs here, and the creation of the first administrator.

mod home;
mod html;
mod setup;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ruma_common::OwnedServerName;
use starling_accounts::Accounts;
use starling_config::RegistrationMode;

pub(crate) use setup::SetupLink;

/// What the pages show.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) server_name: OwnedServerName,
    pub(crate) registration: RegistrationMode,
    pub(crate) accounts: Accounts,
    /// The way to a first administrator, if there is one.
    pub(crate) setup: Option<Arc<SetupLink>>,
}

/// The style of all pages.
const STYLE: &str = include_str!("pages/style.css");

/// Their routes.
pub(crate) fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(home::home))
        .route("/_starling/style.css", get(style))
        .route("/_starling/setup", get(setup::form).post(setup::create))
        .with_state(pages)
}

async fn style() -> Response {
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/css; charset=utf-8"),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("max-age=3600")),
    ];
    (headers, STYLE).into_response()
}
