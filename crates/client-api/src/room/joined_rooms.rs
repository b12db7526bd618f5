//! `GET /joined_rooms`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>

use axum::extract;
use ruma_common::OwnedRoomId;
use serde::Serialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, MatrixError, Routes};

use super::actor;
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/client/v3/joined_rooms", Auth::User, get)
}

#[derive(Debug, Serialize)]
struct JoinedRooms {
    joined_rooms: Vec<OwnedRoomId>,
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<JoinedRooms>, MatrixError> {
    let joined_rooms = api.rooms.joined_rooms(&actor(&session)).await;
    Ok(Json(JoinedRooms {
        joined_rooms: joined_rooms.map_err(MatrixError::internal)?,
    }))
}
