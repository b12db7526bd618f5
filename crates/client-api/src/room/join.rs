//! `POST /join/{roomIdOrAlias}` and `POST /rooms/{roomId}/join`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>

use axum::extract;
use ruma_common::OwnedRoomId;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, OptionalJson, Path, Routes};
use starling_rooms::MembershipAction;

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
    third_party_signed: Option<IgnoredAny>,
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
    let room_id = match room {
        RoomOrAliasPart::Room(room_id) => room_id,
        RoomOrAliasPart::Alias(alias) => {
            let target = state.0.rooms.resolve_alias(&alias).await;
            let target = target.map_err(MatrixError::internal)?;
            target
                .ok_or_else(|| MatrixError::not_found("There is no such alias"))?
                .room_id
        }
    };
    join(state, session, Path(RoomIdPart(room_id)), body).await
}

async fn join(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    OptionalJson(body): OptionalJson<JoinBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    if body.third_party_signed.is_some() {
        let message = "This server does not take part in third-party invites";
        return Err(MatrixError::forbidden(message));
    }
    let (actor, action) = (actor(&session), MembershipAction::Join);
    let change = api
        .rooms
        .change_membership(&actor, &room_id, action, &actor.user_id, body.reason);
    change.await.map_err(error::enter_or_leave)?;
    Ok(Json(RoomIdAnswer { room_id }))
}
