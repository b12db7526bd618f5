//! `GET /rooms/{roomId}/state`, `GET` and `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`: a room's state. Without its
//! last part (with or without the slash before it), the state key is empty.
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>

use axum::extract;
use bytes::Bytes;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Query, RawBody, Routes,
};
use starling_rooms::Draft;

use super::client_events::{write_event, write_events};
use super::path::RoomIdPart;
use super::send::{EventIdAnswer, content};
use super::{EVENT_BODY_BYTES, actor, error};
use crate::State;

const STATE: &str = "/_matrix/client/v3/rooms/{roomId}/state";
const WITH_KEY: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
const WITHOUT_KEY: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}";
const WITH_SLASH: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(STATE, Auth::Guest, get_all)
        .get(WITH_KEY, Auth::Guest, get)
        .get(WITHOUT_KEY, Auth::Guest, get_without_key)
        .get(WITH_SLASH, Auth::Guest, get_without_key)
        .put(WITH_KEY, Auth::Guest, put)
        .body_limit(EVENT_BODY_BYTES)
        .limit(Limited::Message)
        .refuse_suspended()
        .put(WITHOUT_KEY, Auth::Guest, put_without_key)
        .body_limit(EVENT_BODY_BYTES)
        .limit(Limited::Message)
        .refuse_suspended()
        .put(WITH_SLASH, Auth::Guest, put_without_key)
        .body_limit(EVENT_BODY_BYTES)
        .limit(Limited::Message)
        .refuse_suspended()
}

/// How a state event is answered.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Content,
    Event,
}

#[derive(Debug, Deserialize)]
struct FormatQuery {
    #[serde(default)]
    format: Format,
}

async fn get_all(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
) -> Result<JsonBytes, MatrixError> {
    let state = api.rooms.state(&actor(&session), &room_id).await;
    let events = write_events(&api, &session, state.map_err(error::read)?).await?;
    Ok(JsonBytes(events.into()))
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), kind, key)): Path<(RoomIdPart, String, String)>,
    Query(FormatQuery { format }): Query<FormatQuery>,
) -> Result<JsonBytes, MatrixError> {
    let event = api
        .rooms
        .state_event(&actor(&session), &room_id, &kind, &key)
        .await;
    let event = event.map_err(error::read)?;
    match format {
        Format::Content => Ok(JsonBytes(Bytes::copy_from_slice(event.pdu.content()))),
        Format::Event => Ok(JsonBytes(write_event(&api, &session, event).await?.into())),
    }
}

async fn get_without_key(
    state: extract::State<State>,
    session: Authenticated<Session>,
    Path((room_id, kind)): Path<(RoomIdPart, String)>,
    query: Query<FormatQuery>,
) -> Result<JsonBytes, MatrixError> {
    get(state, session, Path((room_id, kind, String::new())), query).await
}

async fn put(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), kind, key)): Path<(RoomIdPart, String, String)>,
    RawBody(body): RawBody,
) -> Result<Json<EventIdAnswer>, MatrixError> {
    let content = content(&body)?;
    let actor = actor(&session);
    let draft = Draft::state(actor.user_id.clone(), kind, key, content);
    let sent = api.rooms.send(&actor, &room_id, draft, None).await;
    let event_id = sent.map_err(error::send)?;
    Ok(Json(EventIdAnswer { event_id }))
}

async fn put_without_key(
    state: extract::State<State>,
    session: Authenticated<Session>,
    Path((room_id, kind)): Path<(RoomIdPart, String)>,
    body: RawBody,
) -> Result<Json<EventIdAnswer>, MatrixError> {
    put(state, session, Path((room_id, kind, String::new())), body).await
}
