//! Ending sessions: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout>

use axum::extract;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    // Logging out is among the few things that a locked account may do.
    Routes::new()
        .post("/_matrix/client/v3/logout", Auth::LockedUser, logout)
        .post(
            "/_matrix/client/v3/logout/all",
            Auth::LockedUser,
            logout_all,
        )
}

async fn logout(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<JsonBytes, MatrixError> {
    state
        .accounts
        .logout(&session)
        .await
        .map_err(MatrixError::internal)?;
    Ok(JsonBytes::empty())
}

async fn logout_all(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<JsonBytes, MatrixError> {
    state
        .accounts
        .logout_all(session.user)
        .await
        .map_err(MatrixError::internal)?;
    Ok(JsonBytes::empty())
}
