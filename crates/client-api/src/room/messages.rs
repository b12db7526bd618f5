//! `GET /rooms/{roomId}/messages`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Path, Query, Routes};
use starling_store::timeline::Direction;
use starling_sync::{MessagesRequest, RoomEventFilter};

use super::path::RoomIdPart;
use super::{error, reader};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/client/v3/rooms/{roomId}/messages",
        Auth::Guest,
        get,
    )
}

#[derive(Debug, Deserialize)]
struct MessagesQuery {
    dir: Dir,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
    filter: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Dir {
    B,
    F,
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<MessagesQuery>,
) -> Result<JsonBytes, MatrixError> {
    let filter = query
        .filter
        .as_deref()
        .map(RoomEventFilter::parse)
        .transpose();
    let request = MessagesRequest {
        room_id,
        from: query.from,
        to: query.to,
        direction: match query.dir {
            Dir::B => Direction::Backwards,
            Dir::F => Direction::Forwards,
        },
        limit: query.limit,
        filter: filter
            .map_err(|error| MatrixError::invalid_param(error.to_string()))?
            .unwrap_or_default(),
    };
    let page = api.sync.messages(&reader(&session), request).await;
    Ok(JsonBytes(page.map_err(error::sync)?.into()))
}
