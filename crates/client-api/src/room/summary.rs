//! `GET /room_summary/{roomIdOrAlias}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>

use axum::extract;
use serde::Serialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, MatrixError, Path, Query, Routes};
use starling_rooms::{Membership, RoomSummary, SummarisedRoom};

use super::actor;
use super::join::{ViaQuery, room_of};
use super::path::RoomOrAliasPart;
use crate::State;

pub(super) fn routes() -> Routes<State> {
    // Clients have used two spellings of the time before the specification took it up.
    Routes::new()
        .get(
            "/_matrix/client/v1/room_summary/{roomIdOrAlias}",
            Auth::Optional,
            summary,
        )
        .get(
            "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
            Auth::Optional,
            unstable_summary,
        )
        .also("/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary")
}

#[derive(Debug, Serialize)]
struct SummaryAnswer {
    #[serde(flatten)]
    summary: SummarisedRoom,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
}

async fn summary(
    extract::State(api): extract::State<State>,
    session: Option<Authenticated<Session>>,
    Path(room): Path<RoomOrAliasPart>,
    Query(via): Query<ViaQuery>,
) -> Result<Json<SummaryAnswer>, MatrixError> {
    find(&api, session, (room, via)).await.map(Json)
}

#[derive(Debug, Serialize)]
struct UnstableAnswer {
    #[serde(flatten)]
    answer: SummaryAnswer,
    #[serde(rename = "im.nheko.summary.room_version")]
    room_version: Option<String>,
    #[serde(rename = "im.nheko.summary.version")]
    version: Option<String>,
    #[serde(
        rename = "im.nheko.summary.encryption",
        skip_serializing_if = "Option::is_none"
    )]
    encryption: Option<String>,
}

/// As clients ask that came before the specification; they know some fields by other names.
async fn unstable_summary(
    extract::State(api): extract::State<State>,
    session: Option<Authenticated<Session>>,
    Path(room): Path<RoomOrAliasPart>,
    Query(via): Query<ViaQuery>,
) -> Result<Json<UnstableAnswer>, MatrixError> {
    let answer = find(&api, session, (room, via)).await?;
    Ok(Json(UnstableAnswer {
        room_version: answer.summary.room_version.clone(),
        version: answer.summary.room_version.clone(),
        encryption: answer.summary.encryption.clone(),
        answer,
    }))
}

async fn find(
    api: &State,
    session: Option<Authenticated<Session>>,
    (room, via): (RoomOrAliasPart, ViaQuery),
) -> Result<SummaryAnswer, MatrixError> {
    let not_found = || MatrixError::not_found("There is no such room, or you may not see it");
    let (room_id, via) = room_of(api, room, via.servers()).await?;
    let actor = session.map(|Authenticated(session)| actor(&session));
    let found = api.rooms.summary(actor.as_ref(), (&room_id, &via)).await;
    let found = found.map_err(MatrixError::internal)?;
    let RoomSummary {
        summary,
        membership,
    } = found.ok_or_else(not_found)?;
    Ok(SummaryAnswer {
        summary,
        membership: membership.map(Membership::as_str),
    })
}
