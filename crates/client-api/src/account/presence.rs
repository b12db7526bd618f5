//! `GET` and `PUT /presence/{userId}/status`
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

use axum::extract;
use ruma_common::UserId;
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_ephemeral::{Presence, PresenceError, PresenceState};
use starling_http::{Auth, Authenticated, Json, JsonBytes, MatrixError, Path, Routes};

use crate::State;
use crate::session::{check_own, client};

const PATH: &str = "/_matrix/client/v3/presence/{userId}/status";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(PATH, Auth::User, get)
        .put(PATH, Auth::User, put)
        .refuse_suspended()
}

/// A state, as clients name it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateName {
    Offline,
    Online,
    Unavailable,
}

impl From<StateName> for PresenceState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Offline => Self::Offline,
            StateName::Online => Self::Online,
            StateName::Unavailable => Self::Unavailable,
        }
    }
}

#[derive(Debug, Deserialize)]
struct StatusBody {
    presence: StateName,
    status_msg: Option<String>,
}

#[derive(Debug, Serialize)]
struct StatusAnswer {
    presence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_ago: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currently_active: Option<bool>,
}

impl StatusAnswer {
    fn new(presence: &Presence, now_ms: i64) -> Self {
        Self {
            presence: presence.state.as_str(),
            last_active_ago: presence.active_ago(now_ms),
            status_msg: presence.status.as_deref().map(str::to_owned),
            currently_active: presence.is_active(),
        }
    }
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(user_id): Path<String>,
) -> Result<Json<StatusAnswer>, MatrixError> {
    // What is no user's name is nobody's, too.
    let user_id = UserId::parse(&user_id).map_err(|_| refusal(PresenceError::NotShared))?;
    let presence = api.ephemeral.presence(session.user, &user_id).await;
    let presence = presence.map_err(refusal)?;
    Ok(Json(StatusAnswer::new(&presence, api.clock.now_ms())))
}

async fn put(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(user_id): Path<String>,
    Json(body): Json<StatusBody>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    let client = client(&session);
    let set = api
        .ephemeral
        .set_presence(&client, body.presence.into(), body.status_msg);
    set.await.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

fn refusal(error: PresenceError) -> MatrixError {
    match error {
        PresenceError::TooLong => MatrixError::invalid_param(error.to_string()),
        PresenceError::NotShared => {
            MatrixError::forbidden("You are not allowed to see their presence")
        }
        PresenceError::Database(error) => MatrixError::internal(error),
    }
}
