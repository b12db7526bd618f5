//! `GET /_matrix/client/v3/notifications`: the events that the user was told of.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Query, Routes};
use starling_sync::NotificationsRequest;

use super::{error, reader};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/client/v3/notifications", Auth::User, list)
}

#[derive(Deserialize)]
struct Parameters {
    from: Option<String>,
    limit: Option<u64>,
    only: Option<String>,
}

async fn list(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(parameters): Query<Parameters>,
) -> Result<JsonBytes, MatrixError> {
    let request = NotificationsRequest {
        from: parameters.from,
        limit: parameters.limit,
        only_highlights: parameters.only.as_deref() == Some("highlight"),
    };
    let page = state.sync.notifications(&reader(&session), &request).await;
    Ok(JsonBytes(page.map_err(error::sync)?.into()))
}
