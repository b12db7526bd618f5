//! Users of other servers who come into rooms of this one, go, or knock.
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>,
//! <https://spec.matrix.org/v1.19/server-server-api/#knocking-upon-a-room>,
//! <https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites>

use axum::extract;
use axum::response::Response;
use ruma_common::{RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use starling_events::Pdu;
use starling_http::{
    Auth, EventIdPart, Json, JsonBytes, Limited, MatrixError, Origin, Path, Query, RoomIdPart,
    Routes, UserIdPart,
};
use starling_rooms::{Handshake, ServedState};

use crate::{State, error, pdus};

pub(crate) fn routes() -> Routes<State> {
    let make =
        |handshake: &str| format!("/_matrix/federation/v1/make_{handshake}/{{roomId}}/{{userId}}");
    let send = |version: &str, handshake: &str| {
        format!("/_matrix/federation/{version}/send_{handshake}/{{roomId}}/{{eventId}}")
    };
    Routes::new()
        .get(&make("join"), Auth::Server, make_join)
        .get(&make("leave"), Auth::Server, make_leave)
        .get(&make("knock"), Auth::Server, make_knock)
        .put(&send("v1", "join"), Auth::Server, send_join_v1)
        .limit(Limited::ServerState)
        .put(&send("v2", "join"), Auth::Server, send_join)
        .limit(Limited::ServerState)
        .put(&send("v1", "leave"), Auth::Server, send_leave_v1)
        .put(&send("v2", "leave"), Auth::Server, send_leave)
        .put(&send("v1", "knock"), Auth::Server, send_knock)
}

#[derive(Debug, Deserialize)]
struct VersionsQuery {
    #[serde(default)]
    ver: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Template {
    room_version: &'static str,
    event: Map<String, Value>,
}

type MakePath = Path<(RoomIdPart, UserIdPart)>;

async fn make_join(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: MakePath,
    Query(query): Query<VersionsQuery>,
) -> Result<Json<Template>, MatrixError> {
    // The specification: who names no version knows rooms of version 1.
    let versions = if query.ver.is_empty() {
        vec!["1".to_owned()]
    } else {
        query.ver
    };
    make(&api, &origin, (Handshake::Join, path), &versions).await
}

async fn make_leave(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: MakePath,
) -> Result<Json<Template>, MatrixError> {
    make(&api, &origin, (Handshake::Leave, path), &[]).await
}

async fn make_knock(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: MakePath,
    Query(query): Query<VersionsQuery>,
) -> Result<Json<Template>, MatrixError> {
    make(&api, &origin, (Handshake::Knock, path), &query.ver).await
}

async fn make(
    api: &State,
    origin: &ServerName,
    (handshake, Path((RoomIdPart(room_id), UserIdPart(user_id)))): (Handshake, MakePath),
    versions: &[String],
) -> Result<Json<Template>, MatrixError> {
    may_take_part(api, origin, &room_id).await?;
    let wish = (handshake, &*room_id);
    let template = api.rooms.make_for(origin, wish, &user_id, versions).await;
    let template = template.map_err(error::resident)?;
    Ok(Json(Template {
        room_version: template.version.as_str(),
        event: template.event,
    }))
}

/// Whether the room's access control list lets the server take part.
pub(crate) async fn may_take_part(
    api: &State,
    origin: &ServerName,
    room_id: &RoomId,
) -> Result<(), MatrixError> {
    let is_allowed = api.rooms.is_server_allowed(room_id, origin).await;
    if is_allowed.map_err(MatrixError::internal)? {
        Ok(())
    } else {
        Err(MatrixError::forbidden(
            "The room's access control list excludes your server",
        ))
    }
}

type SendPath = Path<(RoomIdPart, EventIdPart)>;

#[derive(Debug, Deserialize)]
struct JoinQuery {
    #[serde(default)]
    omit_members: bool,
}

/// What other servers are told of a room that one of their users has just joined.
struct JoinedRoom {
    join: Pdu,
    served: ServedState,
}

async fn send_join(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: SendPath,
    Query(query): Query<JoinQuery>,
    Json(event): Json<Box<RawValue>>,
) -> Result<Response, MatrixError> {
    // Those of before the join.
    let servers = if query.omit_members {
        let Path((RoomIdPart(room_id), _)) = &path;
        Some(servers_in(&api, room_id).await?)
    } else {
        None
    };
    let joined = join(&api, &origin, path, &event).await?;
    let mut served = joined.served;
    if query.omit_members {
        let without = api
            .rooms
            .without_members(served, joined.join.event_id())
            .await;
        served = without.map_err(MatrixError::internal)?;
    }
    let mut head = Map::new();
    head.insert("origin".to_owned(), api.rooms.server_name().as_str().into());
    head.insert("members_omitted".to_owned(), query.omit_members.into());
    head.extend(servers.map(|servers| ("servers_in_room".to_owned(), servers)));
    Ok(pdus::room(
        api.rooms.clone(),
        head,
        &joined.join,
        (served, false),
    ))
}

/// The first version of the endpoint: its answer is a list of the status and the room.
async fn send_join_v1(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: SendPath,
    Json(event): Json<Box<RawValue>>,
) -> Result<Response, MatrixError> {
    let joined = join(&api, &origin, path, &event).await?;
    let mut head = Map::new();
    head.insert("origin".to_owned(), api.rooms.server_name().as_str().into());
    let served = (joined.served, true);
    Ok(pdus::room(api.rooms.clone(), head, &joined.join, served))
}

async fn join(
    api: &State,
    origin: &ServerName,
    Path((RoomIdPart(room_id), EventIdPart(event_id))): SendPath,
    event: &RawValue,
) -> Result<JoinedRoom, MatrixError> {
    may_take_part(api, origin, &room_id).await?;
    let wish = (Handshake::Join, &*room_id);
    let accepted = api.rooms.accept_of(origin, wish, &event_id, event).await;
    let join = accepted.map_err(error::resident)?;
    let served = api.rooms.state_for(origin, &room_id, &event_id).await;
    Ok(JoinedRoom {
        join,
        served: served.map_err(error::read)?,
    })
}

async fn servers_in(api: &State, room_id: &RoomId) -> Result<Value, MatrixError> {
    let servers = api.rooms.servers_in(room_id).await;
    let servers = servers.map_err(MatrixError::internal)?.into_iter();
    Ok(servers.map(|server| Value::from(server.as_str())).collect())
}

async fn send_leave(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: SendPath,
    Json(event): Json<Box<RawValue>>,
) -> Result<JsonBytes, MatrixError> {
    leave(&api, &origin, path, (&event, b"{}")).await
}

/// The first version of the endpoint: its answer is a list of the status and nothing.
async fn send_leave_v1(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: SendPath,
    Json(event): Json<Box<RawValue>>,
) -> Result<JsonBytes, MatrixError> {
    leave(&api, &origin, path, (&event, b"[200,{}]")).await
}

async fn leave(
    api: &State,
    origin: &ServerName,
    path: SendPath,
    (event, answer): (&RawValue, &'static [u8]),
) -> Result<JsonBytes, MatrixError> {
    accept(api, origin, (Handshake::Leave, path), event).await?;
    Ok(JsonBytes(bytes::Bytes::from_static(answer)))
}

#[derive(Debug, Serialize)]
struct Knocked {
    knock_room_state: Vec<Box<RawValue>>,
}

async fn send_knock(
    extract::State(api): extract::State<State>,
    Origin(origin): Origin,
    path: SendPath,
    Json(event): Json<Box<RawValue>>,
) -> Result<Json<Knocked>, MatrixError> {
    let knock = accept(&api, &origin, (Handshake::Knock, path), &event).await?;
    let shown = api.rooms.shown_to(&knock).await;
    Ok(Json(Knocked {
        knock_room_state: shown.map_err(error::resident)?,
    }))
}

async fn accept(
    api: &State,
    origin: &ServerName,
    (handshake, Path((RoomIdPart(room_id), EventIdPart(event_id)))): (Handshake, SendPath),
    event: &RawValue,
) -> Result<Pdu, MatrixError> {
    may_take_part(api, origin, &room_id).await?;
    let wish = (handshake, &*room_id);
    let accepted = api.rooms.accept_of(origin, wish, &event_id, event).await;
    accepted.map_err(error::resident)
}
