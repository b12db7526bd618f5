//! `POST /knock/{roomIdOrAlias}`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, OptionalJson, Path, Routes};
use starling_rooms::MembershipAction;

use super::join::{RoomIdAnswer, room_of};
use super::path::RoomOrAliasPart;
use super::{actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/knock/{roomIdOrAlias}",
            Auth::User,
            knock,
        )
        .limit(Limited::Join)
        .refuse_suspended()
}

#[derive(Debug, Deserialize)]
struct KnockBody {
    reason: Option<String>,
}

/// As for joining, the servers that the room could be reached through make no difference.
async fn knock(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(room): Path<RoomOrAliasPart>,
    OptionalJson(body): OptionalJson<KnockBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    let room_id = room_of(&api, room).await?;
    let (actor, action) = (actor(&session), MembershipAction::Knock);
    let change = api
        .rooms
        .change_membership(&actor, &room_id, action, &actor.user_id, body.reason);
    change.await.map_err(error::enter_or_leave)?;
    Ok(Json(RoomIdAnswer { room_id }))
}
