//! `GET /_matrix/federation/v1/event/{eventId}`, `/state/{roomId}`, `/state_ids/{roomId}` and
//! `/event_auth/{roomId}/{eventId}`
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-events>

use axum::extract;
use axum::response::Response;
use ruma_common::OwnedEventId;
use serde::{Deserialize, Serialize};
use starling_http::{
    Auth, EventIdPart, Json, JsonBytes, Limited, MatrixError, Origin, Path, Query, RoomIdPart,
    Routes, event_named,
};
use starling_rooms::ServedState;

use crate::{State, error, pdus};

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/federation/v1/event/{eventId}",
            Auth::Server,
            event,
        )
        .get("/_matrix/federation/v1/state/{roomId}", Auth::Server, state)
        .limit(Limited::ServerState)
        .get(
            "/_matrix/federation/v1/state_ids/{roomId}",
            Auth::Server,
            state_ids,
        )
        .limit(Limited::ServerState)
        .get(
            "/_matrix/federation/v1/event_auth/{roomId}/{eventId}",
            Auth::Server,
            event_auth,
        )
        .limit(Limited::ServerState)
}

async fn event(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path(EventIdPart(event_id)): Path<EventIdPart>,
) -> Result<JsonBytes, MatrixError> {
    let event = api.rooms.event_for(&server, &event_id).await;
    Ok(pdus::transaction(&api, &[event.map_err(error::read)?]))
}

#[derive(Debug, Deserialize)]
struct AtQuery {
    event_id: String,
}

async fn state(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(at): Query<AtQuery>,
) -> Result<Response, MatrixError> {
    let at = event_named("event_id", &at.event_id)?;
    let read = api.rooms.state_for(&server, &room_id, &at).await;
    let ServedState { state, auth_chain } = read.map_err(error::read)?;
    let lists = [("auth_chain", auth_chain), ("pdus", state)];
    Ok(pdus::lists(api.rooms.clone(), lists))
}

#[derive(Debug, Serialize)]
struct StateIds {
    auth_chain_ids: Vec<OwnedEventId>,
    pdu_ids: Vec<OwnedEventId>,
}

async fn state_ids(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(at): Query<AtQuery>,
) -> Result<Json<StateIds>, MatrixError> {
    let at = event_named("event_id", &at.event_id)?;
    let read = api.rooms.state_for(&server, &room_id, &at).await;
    let ServedState { state, auth_chain } = read.map_err(error::read)?;
    let auth_chain_ids = api.rooms.served_ids(auth_chain).await;
    let pdu_ids = api.rooms.served_ids(state).await;
    Ok(Json(StateIds {
        auth_chain_ids: auth_chain_ids.map_err(MatrixError::internal)?,
        pdu_ids: pdu_ids.map_err(MatrixError::internal)?,
    }))
}

async fn event_auth(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path((RoomIdPart(room_id), EventIdPart(event_id))): Path<(RoomIdPart, EventIdPart)>,
) -> Result<Response, MatrixError> {
    let chain = api.rooms.auth_chain_for(&server, &room_id, &event_id).await;
    let chain = chain.map_err(error::read)?;
    Ok(pdus::lists(api.rooms.clone(), [("auth_chain", chain)]))
}
