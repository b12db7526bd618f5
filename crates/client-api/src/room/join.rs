//! `POST /join/{roomIdOrAlias}` and `POST /rooms/{roomId}/join`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>

use axum::extract;
use ruma_common::{OwnedRoomId, OwnedServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, Limited, MatrixError, OptionalJson, Path, Query, Routes,
};
use starling_rooms::CanonicalObject;

use super::aliases::behind;
use super::path::{RoomIdPart, RoomOrAliasPart};
use super::{actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    // Guests may join by the first path too: clients know no other way to.
    Routes::new()
        .post(
            "/_matrix/client/v3/join/{roomIdOrAlias}",
            Auth::Guest,
            join_by_id_or_alias,
        )
        .limit(Limited::Join)
        .refuse_suspended()
        .post("/_matrix/client/v3/rooms/{roomId}/join", Auth::Guest, join)
        .limit(Limited::Join)
        .refuse_suspended()
}

#[derive(Debug, Deserialize)]
struct JoinBody {
    reason: Option<String>,
    third_party_signed: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
pub(super) struct RoomIdAnswer {
    pub(super) room_id: OwnedRoomId,
}

/// Which servers the room can be reached through: `via`, or `server_name` of older clients. What is no name is passed
/// over.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ViaQuery {
    #[serde(default)]
    via: Vec<String>,
    #[serde(default)]
    server_name: Vec<String>,
}

impl ViaQuery {
    /// The servers, each as often as it was named.
    pub(super) fn servers(self) -> Vec<OwnedServerName> {
        let names = self.via.into_iter().chain(self.server_name);
        names.filter_map(|name| name.try_into().ok()).collect()
    }
}

async fn join_by_id_or_alias(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(room): Path<RoomOrAliasPart>,
    Query(via): Query<ViaQuery>,
    OptionalJson(body): OptionalJson<JoinBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    let room = room_of(&api, room, via.servers()).await?;
    enter(&api, &session, room, body).await
}

/// The room that a path names, and the servers that it can be reached through: those given, and those that its alias
/// leads to.
pub(super) async fn room_of(
    api: &State,
    room: RoomOrAliasPart,
    mut via: Vec<OwnedServerName>,
) -> Result<(OwnedRoomId, Vec<OwnedServerName>), MatrixError> {
    match room {
        RoomOrAliasPart::Room(room_id) => Ok((room_id, via)),
        RoomOrAliasPart::Alias(alias) => {
            let target = behind(api, &alias).await?;
            via.extend(target.servers);
            Ok((target.room_id, via))
        }
    }
}

async fn join(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    OptionalJson(body): OptionalJson<JoinBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    enter(&api, &session, (room_id, Vec::new()), body).await
}

async fn enter(
    api: &State,
    session: &Session,
    (room_id, via): (OwnedRoomId, Vec<OwnedServerName>),
    body: JoinBody,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    let actor = actor(session);
    if let Some(signed) = body.third_party_signed {
        let signed = CanonicalObject::from_raw(&signed).map_err(error::content)?;
        let accepted = api
            .rooms
            .accept_third_party_invite(&actor, &room_id, &signed);
        accepted.await.map_err(error::enter_or_leave)?;
    }
    let joined = api.rooms.join(&actor, (&room_id, &via), body.reason).await;
    joined.map_err(error::enter_or_leave)?;
    Ok(Json(RoomIdAnswer { room_id }))
}
