//! `GET /rooms/{roomId}/threads`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Path, Query, Routes};
use starling_sync::ThreadsRequest;

use super::path::RoomIdPart;
use super::{error, reader};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/client/v1/rooms/{roomId}/threads", Auth::User, get)
}

#[derive(Debug, Deserialize)]
struct ThreadsQuery {
    #[serde(default)]
    include: Include,
    limit: Option<u64>,
    from: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Include {
    #[default]
    All,
    Participated,
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<ThreadsQuery>,
) -> Result<JsonBytes, MatrixError> {
    if query.limit == Some(0) {
        return Err(MatrixError::invalid_param("`limit` must be greater than 0"));
    }
    let request = ThreadsRequest {
        room_id,
        participated: matches!(query.include, Include::Participated),
        from: query.from,
        limit: query.limit,
    };
    let threads = api.sync.threads(&reader(&session), request).await;
    Ok(JsonBytes(threads.map_err(error::sync)?.into()))
}
