//! `POST /account/deactivate`: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use axum::extract;
use bytes::Bytes;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, Limited, MatrixError, OptionalJson, Routes};

use crate::State;
use crate::interactive_auth::{AuthData, BY_PASSWORD, Guarded, Refusal, authorize};

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/account/deactivate",
            Auth::User,
            deactivate,
        )
        .limit(Limited::AccountChange)
}

#[derive(Deserialize)]
struct Request {
    auth: Option<AuthData>,
    #[serde(default)]
    erase: bool,
}

async fn deactivate(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    OptionalJson(request): OptionalJson<Request>,
) -> Result<JsonBytes, Refusal> {
    let guarded = Guarded {
        what: "POST /account/deactivate",
        session: Some(&session),
        flows: BY_PASSWORD,
    };
    authorize(&state, guarded, request.auth).await?;
    let done = state.accounts.deactivate(session.user, request.erase).await;
    // Somebody else may have been faster.
    done.map_err(MatrixError::internal)?;
    // No identity server knows of an account here.
    Ok(JsonBytes(Bytes::from_static(
        br#"{"id_server_unbind_result":"no-support"}"#,
    )))
}
