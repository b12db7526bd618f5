//! `POST /refresh`: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh>

use axum::extract;
use serde::{Deserialize, Serialize};
use starling_accounts::RefreshError;
use starling_http::{Auth, Json, Limited, MatrixError, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post("/_matrix/client/v3/refresh", Auth::None, refresh)
        .limit(Limited::Refresh)
        .also("/_matrix/client/v1/refresh")
}

#[derive(Deserialize)]
struct Request {
    refresh_token: String,
}

#[derive(Serialize)]
struct Answer {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<i64>,
}

async fn refresh(
    extract::State(state): extract::State<State>,
    Json(request): Json<Request>,
) -> Result<Json<Answer>, MatrixError> {
    let refreshed = state.accounts.refresh(&request.refresh_token).await;
    let refreshed = refreshed.map_err(|error| match error {
        RefreshError::Unknown => MatrixError::unknown_refresh_token(),
        RefreshError::Locked => MatrixError::user_locked(),
        RefreshError::Database(_) => MatrixError::internal(error),
    })?;
    Ok(Json(Answer {
        access_token: refreshed.access_token.as_str().to_owned(),
        refresh_token: refreshed
            .refresh_token
            .map(|token| token.as_str().to_owned()),
        expires_in_ms: refreshed.expires_in_ms,
    }))
}
