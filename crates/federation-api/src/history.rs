//! `GET /_matrix/federation/v1/backfill/{roomId}` and `POST /_matrix/federation/v1/get_missing_events/{roomId}`
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

use axum::extract;
use ruma_common::OwnedEventId;
use serde::Deserialize;
use starling_http::{
    Auth, Json, JsonBytes, Limited, MatrixError, Origin, Path, Query, RoomIdPart, Routes,
    event_named,
};
use starling_rooms::MissingEvents;

use crate::{State, error, pdus};

/// The most events that a request may name in one list.
const MAX_NAMED: usize = 500;

/// Missing events when the server doesn't say how many.
const DEFAULT_MISSING: u64 = 10;

/// The largest body that names events, in bytes.
const BODY_BYTES: usize = 512 << 10;

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/federation/v1/backfill/{roomId}",
            Auth::Server,
            backfill,
        )
        .limit(Limited::ServerState)
        .post(
            "/_matrix/federation/v1/get_missing_events/{roomId}",
            Auth::Server,
            missing_events,
        )
        .body_limit(BODY_BYTES)
}

#[derive(Debug, Deserialize)]
struct BackfillQuery {
    #[serde(default)]
    v: Vec<String>,
    limit: u64,
}

async fn backfill(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<BackfillQuery>,
) -> Result<JsonBytes, MatrixError> {
    if query.v.is_empty() {
        return Err(MatrixError::missing_param("`v` is missing"));
    }
    let from = named("v", &query.v)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let events = api.rooms.backfill_for(&server, &room_id, from, limit).await;
    Ok(pdus::transaction(&api, &events.map_err(error::read)?))
}

#[derive(Debug, Deserialize)]
struct MissingBody {
    limit: Option<u64>,
    #[serde(default)]
    min_depth: i64,
    earliest_events: Vec<String>,
    latest_events: Vec<String>,
}

async fn missing_events(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Json(body): Json<MissingBody>,
) -> Result<JsonBytes, MatrixError> {
    let limit = body.limit.unwrap_or(DEFAULT_MISSING);
    let wanted = MissingEvents {
        latest: named("latest_events", &body.latest_events)?,
        earliest: named("earliest_events", &body.earliest_events)?,
        min_depth: body.min_depth,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let events = api
        .rooms
        .missing_events_for(&server, &room_id, wanted)
        .await;
    Ok(pdus::list("events", &events.map_err(error::read)?))
}

fn named(list: &str, texts: &[String]) -> Result<Vec<OwnedEventId>, MatrixError> {
    if texts.len() > MAX_NAMED {
        let message = format!("`{list}` names more than {MAX_NAMED} events");
        return Err(MatrixError::invalid_param(message));
    }
    texts.iter().map(|text| event_named(list, text)).collect()
}
