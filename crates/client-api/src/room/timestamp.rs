//! `GET /rooms/{roomId}/timestamp_to_event`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use axum::extract;
use ruma_common::{OwnedEventId, RoomId};
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, MatrixError, Path, Query, Routes};
use starling_store::timeline::Direction;
use starling_sync::Error;

use super::messages::Dir;
use super::path::RoomIdPart;
use super::{error, reader};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event",
        Auth::User,
        get,
    )
}

#[derive(Debug, Deserialize)]
struct TimestampQuery {
    /// In milliseconds since 1970.
    ts: i64,
    dir: Dir,
}

#[derive(Debug, Serialize)]
struct Found {
    event_id: OwnedEventId,
    origin_server_ts: i64,
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<TimestampQuery>,
) -> Result<Json<Found>, MatrixError> {
    let when = (query.ts, query.dir.into());
    let reader = reader(&session);
    let find = || api.sync.closest_in_time(&reader, &room_id, when);
    let mut found = find().await;
    let closest = match &found {
        Ok((_, ts)) => Some(*ts),
        Err(_) => None,
    };
    if matches!(found, Ok(_) | Err(Error::NotFound)) && closest != Some(query.ts) {
        fetch(&api, &session, &room_id, (when, closest)).await;
        found = find().await;
    }
    let (event_id, origin_server_ts) = found.map_err(error::sync)?;
    Ok(Json(Found {
        event_id,
        origin_server_ts,
    }))
}

/// Fetches what is closer and isn't here. What is here is told in any case.
async fn fetch(
    api: &State,
    session: &Session,
    room_id: &RoomId,
    (when, closest): ((i64, Direction), Option<i64>),
) {
    let fetched = api
        .rooms
        .backfill_to_time(&session.user_id, room_id, when, closest);
    if let Err(error) = fetched.await {
        tracing::info!(room = %room_id, %error, "events of a time could not be fetched");
    }
}
