//! `POST /account/password`: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>

use axum::extract;
use serde::Deserialize;
use starling_accounts::{HashError, KeepSession, Session, SetPasswordError};
use starling_http::{Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Routes};

use super::register::password_refusal;
use crate::State;
use crate::interactive_auth::{AuthData, BY_PASSWORD, Guarded, Refusal, authorize};
use crate::session::busy;

/// Without a session nobody can change a password: no account has an address that would prove who asks.
pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/account/password",
            Auth::User,
            set_password,
        )
        .limit(Limited::AccountChange)
}

#[derive(Deserialize)]
struct Request {
    auth: Option<AuthData>,
    new_password: Option<String>,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

async fn set_password(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<Request>,
) -> Result<JsonBytes, Refusal> {
    let guarded = Guarded {
        what: "POST /account/password",
        session: Some(&session),
        flows: BY_PASSWORD,
    };
    authorize(&state, guarded, request.auth).await?;
    let password = request.new_password;
    let password = password.ok_or_else(|| MatrixError::missing_param("new_password is missing"))?;
    let keep = if request.logout_devices {
        KeepSession::Only(session.device)
    } else {
        KeepSession::All(session.device)
    };
    let set = state.accounts.set_password(session.user, password, keep);
    match set.await {
        Ok(true) => Ok(JsonBytes::empty()),
        Ok(false) => Err(MatrixError::unknown_token(false).into()),
        Err(SetPasswordError::Password(error)) => Err(password_refusal(error).into()),
        Err(SetPasswordError::Hash(HashError::Busy)) => Err(busy().into()),
        Err(error) => Err(MatrixError::internal(error).into()),
    }
}
