//! `GET /account/whoami`: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami>

use serde::Serialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/client/v3/account/whoami", Auth::Guest, whoami)
}

#[derive(Serialize)]
struct Answer {
    user_id: String,
    device_id: String,
    is_guest: bool,
}

async fn whoami(Authenticated(session): Authenticated<Session>) -> Json<Answer> {
    Json(Answer {
        user_id: session.user_id.into(),
        device_id: session.device_id.as_ref().to_owned(),
        is_guest: session.is_guest,
    })
}
