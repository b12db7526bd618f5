//! `GET /rooms/{roomId}/event/{eventId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid>

use axum::extract;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Path, Routes};

use super::client_events::write_event;
use super::path::{EventIdPart, RoomIdPart};
use super::{actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/client/v3/rooms/{roomId}/event/{eventId}",
        Auth::Guest,
        get,
    )
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), EventIdPart(event_id))): Path<(RoomIdPart, EventIdPart)>,
) -> Result<JsonBytes, MatrixError> {
    let event = api.rooms.event(&actor(&session), &room_id, &event_id).await;
    let written = write_event(&api, &session, event.map_err(error::read)?).await?;
    Ok(JsonBytes(written.into()))
}
