//! `GET` and `PUT /directory/list/room/{roomId}`, `GET` and `POST /publicRooms`
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use axum::extract;
use ruma_common::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Query, Routes,
};
use starling_rooms::remote::PublicRooms;
use starling_rooms::{CanonicalObject, DirectoryPage, DirectoryQuery, PublishedRoom};

use super::path::RoomIdPart;
use super::{actor, error};
use crate::{State, remote};

const LISTED: &str = "/_matrix/client/v3/directory/list/room/{roomId}";
const PUBLIC_ROOMS: &str = "/_matrix/client/v3/publicRooms";

/// The most types of rooms that can be asked for at once.
const MAX_TYPES: usize = 100;

/// The largest body of a search, in bytes.
const SEARCH_BODY_BYTES: usize = 64 << 10;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(LISTED, Auth::None, listed)
        .put(LISTED, Auth::User, set_listed)
        .limit(Limited::Message)
        .refuse_suspended()
        .get(PUBLIC_ROOMS, Auth::Optional, list)
        .post(PUBLIC_ROOMS, Auth::Guest, search)
        .body_limit(SEARCH_BODY_BYTES)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    #[default]
    Public,
    Private,
}

#[derive(Debug, Serialize, Deserialize)]
struct VisibilityBody {
    #[serde(default)]
    visibility: Visibility,
}

async fn listed(
    extract::State(api): extract::State<State>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
) -> Result<Json<VisibilityBody>, MatrixError> {
    let listed = api.rooms.is_listed(&room_id).await;
    let listed = listed.map_err(MatrixError::internal)?;
    let visibility = match listed {
        Some(true) => Visibility::Public,
        Some(false) => Visibility::Private,
        None => return Err(MatrixError::not_found("There is no such room")),
    };
    Ok(Json(VisibilityBody { visibility }))
}

async fn set_listed(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Json(VisibilityBody { visibility }): Json<VisibilityBody>,
) -> Result<JsonBytes, MatrixError> {
    let is_listed = visibility == Visibility::Public;
    let actor = actor(&session);
    let set = api
        .rooms
        .set_listed(&actor, session.is_admin, &room_id, is_listed);
    set.await.map_err(error::enter_or_leave)?;
    Ok(JsonBytes::empty())
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    limit: Option<u64>,
    since: Option<String>,
    server: Option<String>,
}

async fn list(
    extract::State(api): extract::State<State>,
    session: Option<Authenticated<Session>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed>, MatrixError> {
    if session.is_none() && !api.config.directory.public_without_login {
        return Err(MatrixError::missing_token());
    }
    if let Some(server) = other_server(&api, query.server.as_deref())? {
        let (limit, since) = (query.limit, query.since);
        return elsewhere(&api, &server, json!({ "limit": limit, "since": since })).await;
    }
    let wanted = wanted(query.limit, query.since.as_deref())?;
    page(&api, wanted).await
}

#[derive(Debug, Deserialize)]
struct ServerQuery {
    server: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct SearchBody {
    limit: Option<u64>,
    since: Option<String>,
    filter: Option<Filter>,
    #[serde(default)]
    include_all_networks: bool,
    third_party_instance_id: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

async fn search(
    extract::State(api): extract::State<State>,
    Authenticated(_): Authenticated<Session>,
    Query(ServerQuery { server }): Query<ServerQuery>,
    Json(body): Json<SearchBody>,
) -> Result<Json<Listed>, MatrixError> {
    if let Some(server) = other_server(&api, server.as_deref())? {
        return elsewhere(&api, &server, body).await;
    }
    let mut wanted = wanted(body.limit, body.since.as_deref())?;
    if body.third_party_instance_id.is_some() {
        if body.include_all_networks {
            let message = "third_party_instance_id goes with include_all_networks false only";
            return Err(MatrixError::invalid_param(message));
        }
        // No network is bridged to this server.
        return Ok(Json(Listed::Here(ListAnswer::default())));
    }
    if let Some(filter) = body.filter {
        let term = filter.generic_search_term;
        wanted.term = term.filter(|term| !term.trim().is_empty());
        wanted.room_types = filter.room_types;
    }
    if wanted.room_types.as_ref().map_or(0, Vec::len) > MAX_TYPES {
        let message = format!("At most {MAX_TYPES} types of rooms can be asked for at once");
        return Err(MatrixError::invalid_param(message));
    }
    page(&api, wanted).await
}

/// The server that is to be asked, if it isn't this one.
fn other_server(api: &State, server: Option<&str>) -> Result<Option<OwnedServerName>, MatrixError> {
    match server {
        Some(server) if server != api.rooms.server_name() => ServerName::parse(server)
            .map(Some)
            .map_err(|_| MatrixError::invalid_param("server is not the name of a server")),
        _ => Ok(None),
    }
}

/// What another server lists. What is `null` in `asked` was not asked for.
async fn elsewhere(
    api: &State,
    server: &ServerName,
    asked: impl Serialize,
) -> Result<Json<Listed>, MatrixError> {
    let closed = || MatrixError::forbidden("This server does not ask other servers");
    let servers = api.rooms.other_servers().ok_or_else(closed)?;
    let mut asked = serde_json::to_value(asked).map_err(MatrixError::internal)?;
    without_nulls(&mut asked);
    let asked = CanonicalObject::from_serialize(&asked).map_err(error::content)?;
    let page = servers.public_rooms(server, &asked).await;
    let page = page.map_err(|error| remote::refusal(&error))?;
    Ok(Json(Listed::Elsewhere(page)))
}

/// Removes members that are `null`, but not elements of lists.
fn without_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(without_nulls);
    }
}

fn wanted(limit: Option<u64>, since: Option<&str>) -> Result<DirectoryQuery, MatrixError> {
    DirectoryQuery::page(limit, since)
        .map_err(|_| MatrixError::invalid_param("since is not a token of this list"))
}

async fn page(api: &State, wanted: DirectoryQuery) -> Result<Json<Listed>, MatrixError> {
    let page = api.rooms.directory(wanted).await;
    let DirectoryPage {
        rooms,
        next,
        prev,
        total,
    } = page.map_err(MatrixError::internal)?;
    Ok(Json(Listed::Here(ListAnswer {
        chunk: rooms.into_iter().map(PublishedRoom::from).collect(),
        next_batch: next.map(|token| token.to_string()),
        prev_batch: prev.map(|token| token.to_string()),
        total_room_count_estimate: total,
    })))
}

/// A page of this server's list, or of another's.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Listed {
    Here(ListAnswer),
    Elsewhere(PublicRooms),
}

#[derive(Debug, Default, Serialize)]
struct ListAnswer {
    chunk: Vec<PublishedRoom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    total_room_count_estimate: i64,
}
