//! `GET`, `PUT` and `DELETE /directory/room/{roomAlias}`, and `GET /rooms/{roomId}/aliases`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use axum::extract;
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId};
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Routes};
use starling_rooms::AliasTarget;

use super::path::{AliasPart, RoomIdPart, room_named};
use super::{actor, error};
use crate::State;

const ALIAS: &str = "/_matrix/client/v3/directory/room/{roomAlias}";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(ALIAS, Auth::None, get)
        .put(ALIAS, Auth::User, put)
        .limit(Limited::Message)
        .refuse_suspended()
        .delete(ALIAS, Auth::User, delete)
        .limit(Limited::Message)
        .refuse_suspended()
        .get(
            "/_matrix/client/v3/rooms/{roomId}/aliases",
            Auth::User,
            of_room,
        )
}

#[derive(Debug, Serialize)]
struct AliasAnswer {
    room_id: OwnedRoomId,
    servers: Vec<OwnedServerName>,
}

async fn get(
    extract::State(api): extract::State<State>,
    Path(AliasPart(alias)): Path<AliasPart>,
) -> Result<Json<AliasAnswer>, MatrixError> {
    let AliasTarget { room_id, servers } = behind(&api, &alias).await?;
    Ok(Json(AliasAnswer { room_id, servers }))
}

/// The room that an alias leads to.
pub(super) async fn behind(api: &State, alias: &RoomAliasId) -> Result<AliasTarget, MatrixError> {
    let target = api.rooms.resolve_alias(alias).await;
    let is_own = alias.server_name() == api.rooms.server_name();
    let unknown = || {
        MatrixError::not_found(if is_own || api.rooms.other_servers().is_some() {
            "There is no such alias"
        } else {
            "The alias is of another server, and this one does not ask other servers"
        })
    };
    target.map_err(error::alias)?.ok_or_else(unknown)
}

#[derive(Debug, Deserialize)]
struct PutBody {
    room_id: String,
}

async fn put(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(AliasPart(alias)): Path<AliasPart>,
    Json(PutBody { room_id }): Json<PutBody>,
) -> Result<JsonBytes, MatrixError> {
    let room_id = room_named("room_id", &room_id)?;
    let created = api
        .rooms
        .create_alias(&actor(&session), &alias, &room_id)
        .await;
    created.map_err(error::alias)?;
    Ok(JsonBytes::empty())
}

async fn delete(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(AliasPart(alias)): Path<AliasPart>,
) -> Result<JsonBytes, MatrixError> {
    let deleted = api
        .rooms
        .delete_alias(&actor(&session), session.is_admin, &alias)
        .await;
    deleted.map_err(error::alias)?;
    Ok(JsonBytes::empty())
}

#[derive(Debug, Serialize)]
struct AliasesAnswer {
    aliases: Vec<OwnedRoomAliasId>,
}

async fn of_room(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
) -> Result<Json<AliasesAnswer>, MatrixError> {
    let aliases = api.rooms.aliases(&actor(&session), &room_id).await;
    Ok(Json(AliasesAnswer {
        aliases: aliases.map_err(error::read)?,
    }))
}
