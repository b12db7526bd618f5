//! `POST /knock/{roomIdOrAlias}`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, Limited, MatrixError, OptionalJson, Path, Query, Routes,
};

use super::join::{RoomIdAnswer, ViaQuery, room_of};
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

async fn knock(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(room): Path<RoomOrAliasPart>,
    Query(via): Query<ViaQuery>,
    OptionalJson(body): OptionalJson<KnockBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    let (room_id, via) = room_of(&api, room, via.servers()).await?;
    let actor = actor(&session);
    let knocked = api.rooms.knock(&actor, (&room_id, &via), body.reason).await;
    knocked.map_err(error::enter_or_leave)?;
    Ok(Json(RoomIdAnswer { room_id }))
}
