//! `PUT /rooms/{roomId}/typing/{userId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid>

use std::time::Duration;

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_ephemeral::{DEFAULT_TYPING, TypingError};
use starling_http::{Auth, Authenticated, Json, JsonBytes, MatrixError, Path, Routes};

use super::path::RoomIdPart;
use crate::State;
use crate::session::{check_own, client};

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .put(
            "/_matrix/client/v3/rooms/{roomId}/typing/{userId}",
            Auth::User,
            put,
        )
        .refuse_suspended()
}

#[derive(Debug, Deserialize)]
struct TypingBody {
    typing: bool,
    /// In milliseconds.
    timeout: Option<u64>,
}

async fn put(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), user_id)): Path<(RoomIdPart, String)>,
    Json(body): Json<TypingBody>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    let time = body.timeout.map_or(DEFAULT_TYPING, Duration::from_millis);
    let time = body.typing.then_some(time);
    let client = client(&session);
    let set = api.ephemeral.set_typing(&client, &room_id, time);
    match set.await {
        Ok(()) => Ok(JsonBytes::empty()),
        Err(TypingError::NotInRoom) => Err(MatrixError::forbidden("You are not in this room")),
        Err(TypingError::Database(error)) => Err(MatrixError::internal(error)),
    }
}
