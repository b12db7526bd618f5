//! `GET /rooms/{roomId}/messages`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Path, Query, Routes};
use starling_store::timeline::Direction;
use starling_store::tokens::Token;
use starling_sync::{MessagesRequest, RoomEventFilter};

use super::path::RoomIdPart;
use super::{error, reader};
use crate::State;

/// How many events of history are made sure of where the client doesn't say how many it wants, and at most.
const EVENTS_AHEAD: u64 = 10;
const MOST_AHEAD: u64 = 100;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/client/v3/rooms/{roomId}/messages",
        Auth::Guest,
        get,
    )
}

#[derive(Debug, Deserialize)]
struct MessagesQuery {
    dir: Dir,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
    filter: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Dir {
    B,
    F,
}

impl Dir {
    pub(super) fn backwards() -> Self {
        Self::B
    }
}

impl From<Dir> for Direction {
    fn from(dir: Dir) -> Self {
        match dir {
            Dir::B => Self::Backwards,
            Dir::F => Self::Forwards,
        }
    }
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<MessagesQuery>,
) -> Result<JsonBytes, MatrixError> {
    let request = MessagesRequest {
        room_id,
        from: query.from,
        to: query.to,
        direction: query.dir.into(),
        limit: query.limit,
        filter: filter(query.filter.as_deref())?,
    };
    if let Direction::Backwards = request.direction {
        fetch_older(&api, &session, &request).await;
    }
    let page = api.sync.messages(&reader(&session), request).await;
    Ok(JsonBytes(page.map_err(error::sync)?.into()))
}

/// Fetches history that isn't here, where the page comes to it. The page shows what is here in any case.
async fn fetch_older(api: &State, session: &Session, request: &MessagesRequest) {
    let from = request.from.as_deref().map(Token::parse).transpose();
    let Ok(from) = from else {
        return;
    };
    let limit = request.limit.unwrap_or(EVENTS_AHEAD).min(MOST_AHEAD);
    let fetched = api
        .rooms
        .backfill(&session.user_id, &request.room_id, (from, limit));
    if let Err(error) = fetched.await {
        tracing::info!(room = %request.room_id, %error, "older events could not be fetched");
    }
}

/// A filter of a query.
pub(super) fn filter(text: Option<&str>) -> Result<RoomEventFilter, MatrixError> {
    let filter = text.map(RoomEventFilter::parse).transpose();
    Ok(filter
        .map_err(|error| MatrixError::invalid_param(error.to_string()))?
        .unwrap_or_default())
}
