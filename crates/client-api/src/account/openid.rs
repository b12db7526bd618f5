//! Proving to others who somebody is: <https://spec.matrix.org/v1.19/client-server-api/#openid>

use axum::extract;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use starling_accounts::{OPENID_TOKEN_LIFETIME, Session};
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, Path, Query, Routes};

use crate::State;
use crate::session::check_own;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/user/{userId}/openid/request_token",
            Auth::User,
            request_token,
        )
        .limit(Limited::AccountChange)
}

/// What the others ask: <https://spec.matrix.org/v1.19/server-server-api/#openid>
pub(super) fn federation_routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/federation/v1/openid/userinfo",
        Auth::None,
        user_info,
    )
}

#[derive(Serialize)]
struct Answer {
    access_token: String,
    token_type: &'static str,
    matrix_server_name: String,
    /// In seconds.
    expires_in: u64,
}

/// The body is reserved: nothing is read from it.
async fn request_token(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(user_id): Path<String>,
) -> Result<Json<Answer>, MatrixError> {
    check_own(&session, &user_id)?;
    let token = state.accounts.openid_token(session.user).await;
    let token = token.map_err(MatrixError::internal)?;
    Ok(Json(Answer {
        access_token: token.as_str().to_owned(),
        token_type: "Bearer",
        matrix_server_name: state.accounts.server_name().to_string(),
        expires_in: OPENID_TOKEN_LIFETIME.as_secs(),
    }))
}

#[derive(Deserialize)]
struct UserInfoQuery {
    access_token: Option<String>,
}

#[derive(Serialize)]
struct UserInfo {
    sub: String,
}

async fn user_info(
    extract::State(state): extract::State<State>,
    Query(query): Query<UserInfoQuery>,
) -> Result<Json<UserInfo>, MatrixError> {
    let token = query.access_token.ok_or_else(MatrixError::missing_token)?;
    let user_id = state.accounts.openid_user(&token).await;
    let user_id = user_id.map_err(MatrixError::internal)?;
    let user_id = user_id.ok_or_else(|| {
        // Without `soft_logout`: it is no session's.
        MatrixError::new(
            StatusCode::UNAUTHORIZED,
            "M_UNKNOWN_TOKEN",
            "The token is unknown or has expired",
        )
    })?;
    Ok(Json(UserInfo {
        sub: user_id.into(),
    }))
}
