//! `POST /rooms/{roomId}/upgrade`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade>

use axum::extract;
use ruma_common::OwnedRoomId;
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, Path, Routes};

use super::path::RoomIdPart;
use super::{actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/rooms/{roomId}/upgrade",
            Auth::User,
            upgrade,
        )
        .limit(Limited::RoomCreation)
        .refuse_suspended()
}

#[derive(Debug, Deserialize)]
struct UpgradeBody {
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<String>,
}

#[derive(Debug, Serialize)]
struct UpgradeAnswer {
    replacement_room: OwnedRoomId,
}

async fn upgrade(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Json(body): Json<UpgradeBody>,
) -> Result<Json<UpgradeAnswer>, MatrixError> {
    let (version, creators) = (&body.new_version, &body.additional_creators);
    let upgraded = api
        .rooms
        .upgrade(&actor(&session), &room_id, version, creators)
        .await;
    let replacement_room = upgraded.map_err(error::upgrade)?;
    Ok(Json(UpgradeAnswer { replacement_room }))
}
