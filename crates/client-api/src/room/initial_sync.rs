//! `GET /initialSync`, `GET /rooms/{roomId}/initialSync`, `GET /events`, `GET /events/{eventId}`: what was there before
//! `/sync`. Guests preview rooms with the second and the third.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>

use std::time::Duration;

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Path, Query, Routes};
use starling_sync::EventsRequest;

use super::path::{EventIdPart, RoomIdPart, room_named};
use super::{error, reader, sync};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/initialSync", Auth::User, all)
        .get(
            "/_matrix/client/v3/rooms/{roomId}/initialSync",
            Auth::Guest,
            of_room,
        )
        .get("/_matrix/client/v3/events", Auth::Guest, events)
        .get("/_matrix/client/v3/events/{eventId}", Auth::User, event)
}

#[derive(Debug, Deserialize)]
struct InitialSyncQuery {
    /// How many events of each room.
    limit: Option<u64>,
    #[serde(default)]
    archived: bool,
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    from: Option<String>,
    /// In milliseconds.
    #[serde(default)]
    timeout: u64,
    room_id: Option<String>,
}

async fn all(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(query): Query<InitialSyncQuery>,
) -> Result<JsonBytes, MatrixError> {
    let reader = reader(&session);
    let answer = api.sync.initial_sync(&reader, query.limit, query.archived);
    Ok(JsonBytes(answer.await.map_err(error::sync)?.into()))
}

async fn of_room(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<InitialSyncQuery>,
) -> Result<JsonBytes, MatrixError> {
    let reader = reader(&session);
    let answer = api.sync.room_initial_sync(&reader, &room_id, query.limit);
    Ok(JsonBytes(answer.await.map_err(error::sync)?.into()))
}

async fn events(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(query): Query<EventsQuery>,
) -> Result<JsonBytes, MatrixError> {
    let request = EventsRequest {
        from: query.from,
        room_id: match &query.room_id {
            Some(room_id) => Some(room_named("room_id", room_id)?),
            None => None,
        },
        timeout: Duration::from_millis(query.timeout),
    };
    let answer = api.sync.events(&reader(&session), &request).await;
    let answer = answer.map_err(error::sync)?;
    sync::check_session(&api, &session).await?;
    Ok(JsonBytes(answer.into()))
}

async fn event(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(EventIdPart(event_id)): Path<EventIdPart>,
) -> Result<JsonBytes, MatrixError> {
    let event = api.sync.event(&reader(&session), &event_id).await;
    let event = event.map_err(error::sync)?;
    let event = event.ok_or_else(|| MatrixError::not_found("There is no such event"))?;
    Ok(JsonBytes(event.into()))
}
