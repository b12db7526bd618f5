//! `POST /login/get_token`: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token>

use axum::extract;
use serde::{Deserialize, Serialize};
use starling_accounts::{LOGIN_TOKEN_LIFETIME, Session};
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, OptionalJson, Routes};

use crate::State;
use crate::interactive_auth::{AuthData, BY_PASSWORD, Guarded, Refusal, authorize};

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post("/_matrix/client/v1/login/get_token", Auth::User, get_token)
        .limit(Limited::AccountChange)
}

#[derive(Deserialize)]
struct Request {
    auth: Option<AuthData>,
}

#[derive(Serialize)]
struct Answer {
    login_token: String,
    expires_in_ms: u128,
}

async fn get_token(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    OptionalJson(request): OptionalJson<Request>,
) -> Result<Json<Answer>, Refusal> {
    let guarded = Guarded {
        what: "POST /login/get_token",
        session: Some(&session),
        flows: BY_PASSWORD,
    };
    authorize(&state, guarded, request.auth).await?;
    let token = state.accounts.login_token(&session).await;
    let token = token.map_err(MatrixError::internal)?;
    let token = token.ok_or_else(|| MatrixError::unknown_token(false))?;
    Ok(Json(Answer {
        login_token: token.as_str().to_owned(),
        expires_in_ms: LOGIN_TOKEN_LIFETIME.as_millis(),
    }))
}
