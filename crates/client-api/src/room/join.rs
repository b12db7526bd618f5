//! `POST /join/{roomIdOrAlias}` and `POST /rooms/{roomId}/join`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>

use axum::extract;
use ruma_common::OwnedRoomId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, OptionalJson, Path, Routes};
use starling_rooms::{CanonicalObject, MembershipAction};

use super::aliases::room_behind;
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

/// Which servers the room could be joined through (`via`, and `server_name` of older clients) makes no difference: only
/// rooms that are here can be joined.
async fn join_by_id_or_alias(
    state: extract::State<State>,
    session: Authenticated<Session>,
    Path(room): Path<RoomOrAliasPart>,
    body: OptionalJson<JoinBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    let room_id = room_of(&state, room).await?;
    join(state, session, Path(RoomIdPart(room_id)), body).await
}

/// The room that a path names.
pub(super) async fn room_of(
    api: &State,
    room: RoomOrAliasPart,
) -> Result<OwnedRoomId, MatrixError> {
    match room {
        RoomOrAliasPart::Room(room_id) => Ok(room_id),
        RoomOrAliasPart::Alias(alias) => room_behind(api, &alias).await,
    }
}

async fn join(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    OptionalJson(body): OptionalJson<JoinBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    let (actor, action) = (actor(&session), MembershipAction::Join);
    if let Some(signed) = body.third_party_signed {
        let signed = CanonicalObject::from_raw(&signed).map_err(error::content)?;
        let accepted = api
            .rooms
            .accept_third_party_invite(&actor, &room_id, &signed);
        accepted.await.map_err(error::enter_or_leave)?;
    }
    let change = api
        .rooms
        .change_membership(&actor, &room_id, action, &actor.user_id, body.reason);
    change.await.map_err(error::enter_or_leave)?;
    Ok(Json(RoomIdAnswer { room_id }))
}
