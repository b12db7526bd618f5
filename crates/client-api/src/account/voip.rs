//! `GET /voip/turnServer`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver>

use axum::extract;
use serde_json::{Value, json};
use starling_accounts::{Session, TurnCredentials};
use starling_http::{Auth, Authenticated, Json, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/client/v3/voip/turnServer",
        Auth::User,
        turn_server,
    )
}

/// Nothing, where no TURN server is configured.
async fn turn_server(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Json<Value> {
    let turn = &api.config.turn;
    if turn.uris.is_empty() {
        return Json(json!({}));
    }
    let credentials = if turn.shared_secret.is_empty() {
        TurnCredentials {
            username: turn.username.clone(),
            password: turn.password.expose().to_owned(),
        }
    } else {
        let expires_s = api.clock.now_ms() / 1000 + i64::from(turn.ttl_seconds);
        TurnCredentials::until(expires_s, &session.user_id, turn.shared_secret.expose())
    };
    Json(json!({
        "username": credentials.username,
        "password": credentials.password,
        "uris": turn.uris,
        "ttl": turn.ttl_seconds,
    }))
}
