//! `GET /_matrix/federation/v1/hierarchy/{roomId}`
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>

use axum::extract;
use ruma_common::OwnedRoomId;
use serde::{Deserialize, Serialize};
use starling_http::{Auth, Json, Limited, MatrixError, Origin, Path, Query, RoomIdPart, Routes};
use starling_rooms::{HierarchyRoom, ServedSpace, ServerReadError, SummarisedRoom};

use crate::{State, error};

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/federation/v1/hierarchy/{roomId}",
            Auth::Server,
            hierarchy,
        )
        .limit(Limited::ServerState)
}

#[derive(Debug, Deserialize)]
struct SpaceQuery {
    #[serde(default)]
    suggested_only: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    room: HierarchyRoom,
    children: Vec<SummarisedRoom>,
    inaccessible_children: Vec<OwnedRoomId>,
}

async fn hierarchy(
    extract::State(api): extract::State<State>,
    Origin(server): Origin,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<SpaceQuery>,
) -> Result<Json<Answer>, MatrixError> {
    let space = api
        .rooms
        .space_for(&server, &room_id, query.suggested_only)
        .await;
    let ServedSpace {
        room,
        children,
        inaccessible,
    } = space.map_err(refusal)?;
    Ok(Json(Answer {
        room,
        children: children.into_iter().map(SummarisedRoom::from).collect(),
        inaccessible_children: inaccessible,
    }))
}

fn refusal(error: ServerReadError) -> MatrixError {
    match error {
        ServerReadError::NotFound => {
            MatrixError::not_found("There is no such room here, or it is not open to your server")
        }
        other => error::read(other),
    }
}
