//! `GET /rooms/{roomId}/hierarchy`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>

use axum::extract;
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, MatrixError, Path, Query, Routes};
use starling_rooms::{
    HierarchyQuery, HierarchyRoom, HierarchyToken, MAX_HIERARCHY_DEPTH, MAX_HIERARCHY_PAGE,
    ReadError,
};

use super::path::RoomIdPart;
use super::{actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/client/v1/rooms/{roomId}/hierarchy",
            Auth::User,
            hierarchy,
        )
        .also("/_matrix/client/unstable/org.matrix.msc2946/rooms/{roomId}/hierarchy")
}

#[derive(Debug, Deserialize)]
struct SpaceQuery {
    #[serde(default)]
    suggested_only: bool,
    limit: Option<u64>,
    max_depth: Option<u32>,
    from: Option<String>,
}

#[derive(Debug, Serialize)]
struct SpaceAnswer {
    rooms: Vec<HierarchyRoom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

async fn hierarchy(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<SpaceQuery>,
) -> Result<Json<SpaceAnswer>, MatrixError> {
    let query = query.check()?;
    let page = api.rooms.hierarchy(&actor(&session), &room_id, query).await;
    let page = page.map_err(refusal)?;
    Ok(Json(SpaceAnswer {
        rooms: page.rooms,
        next_batch: page.next.map(|token| token.to_string()),
    }))
}

/// As for reading a room, nobody learns which rooms there are.
fn refusal(error: ReadError) -> MatrixError {
    match error {
        ReadError::UnknownRoom | ReadError::NotAllowed => {
            MatrixError::forbidden("There is no such room, or you may not see it")
        }
        other => error::read(other),
    }
}

impl SpaceQuery {
    fn check(self) -> Result<HierarchyQuery, MatrixError> {
        if self.limit == Some(0) {
            return Err(MatrixError::invalid_param("`limit` must be greater than 0"));
        }
        let limit = self.limit.map(|limit| usize::try_from(limit).ok());
        let from = self.from.as_deref().map(str::parse::<HierarchyToken>);
        Ok(HierarchyQuery {
            limit: limit
                .flatten()
                .map_or(MAX_HIERARCHY_PAGE, |limit| limit.min(MAX_HIERARCHY_PAGE)),
            max_depth: self.max_depth.map(|depth| depth.min(MAX_HIERARCHY_DEPTH)),
            suggested_only: self.suggested_only,
            from: from
                .transpose()
                .map_err(|error| MatrixError::invalid_param(format!("`from` is {error}")))?,
        })
    }
}
