//! `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>

use axum::extract;
use ruma_common::OwnedEventId;
use serde::{Deserialize, Serialize};
use starling_http::{Auth, Json, MatrixError, Origin, Path, Query, RoomIdPart, Routes};
use starling_store::timeline::Direction;

use crate::{State, error};

pub(crate) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/federation/v1/timestamp_to_event/{roomId}",
        Auth::Server,
        closest,
    )
}

#[derive(Debug, Deserialize)]
struct TimestampQuery {
    /// In milliseconds since 1970.
    ts: i64,
    dir: Dir,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Dir {
    #[serde(rename = "f")]
    Forwards,
    #[serde(rename = "b")]
    Backwards,
}

#[derive(Debug, Serialize)]
struct Found {
    event_id: OwnedEventId,
    origin_server_ts: i64,
}

async fn closest(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<TimestampQuery>,
) -> Result<Json<Found>, MatrixError> {
    let direction = match query.dir {
        Dir::Forwards => Direction::Forwards,
        Dir::Backwards => Direction::Backwards,
    };
    let when = (query.ts, direction);
    let found = api.rooms.closest_in_time_for(&server, &room_id, when).await;
    let (event_id, origin_server_ts) = found.map_err(error::read)?;
    Ok(Json(Found {
        event_id,
        origin_server_ts,
    }))
}
