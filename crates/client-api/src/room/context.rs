//! `GET /rooms/{roomId}/context/{eventId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Path, Query, Routes};
use starling_sync::ContextRequest;

use super::messages::filter;
use super::path::{EventIdPart, RoomIdPart};
use super::{error, reader};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/client/v3/rooms/{roomId}/context/{eventId}",
        Auth::Guest,
        get,
    )
}

#[derive(Debug, Deserialize)]
struct ContextQuery {
    limit: Option<u64>,
    filter: Option<String>,
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), EventIdPart(event_id))): Path<(RoomIdPart, EventIdPart)>,
    Query(query): Query<ContextQuery>,
) -> Result<JsonBytes, MatrixError> {
    let request = ContextRequest {
        room_id,
        event_id,
        limit: query.limit,
        filter: filter(query.filter.as_deref())?,
    };
    let context = api.sync.context(&reader(&session), request).await;
    Ok(JsonBytes(context.map_err(error::event)?.into()))
}
