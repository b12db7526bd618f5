//! `GET /rooms/{roomId}/relations/{eventId}`, `…/{relType}` and `…/{relType}/{eventType}`
//! <https://spec.matrix.org/v1.19/client-server-api/#relationships-api>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Path, Query, Routes};
use starling_sync::RelationsRequest;

use super::messages::Dir;
use super::path::{EventIdPart, RoomIdPart};
use super::{error, reader};
use crate::State;

const ALL: &str = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}";
const OF_ONE_KIND: &str = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}";
const OF_ONE_TYPE: &str =
    "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(ALL, Auth::User, get_all)
        .get(OF_ONE_KIND, Auth::User, get_of_one_kind)
        .get(OF_ONE_TYPE, Auth::User, get_of_one_type)
}

#[derive(Debug, Deserialize)]
struct RelationsQuery {
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
    #[serde(default = "Dir::backwards")]
    dir: Dir,
    recurse: Option<bool>,
}

impl RelationsQuery {
    async fn answer(
        self,
        api: &State,
        session: &Session,
        (RoomIdPart(room_id), EventIdPart(event_id)): (RoomIdPart, EventIdPart),
        (rel_type, event_type): (Option<String>, Option<String>),
    ) -> Result<JsonBytes, MatrixError> {
        let request = RelationsRequest {
            room_id,
            event_id,
            rel_type,
            event_type,
            from: self.from,
            to: self.to,
            direction: self.dir.into(),
            limit: self.limit,
            recurse: self.recurse,
        };
        let page = api.sync.relations(&reader(session), request).await;
        Ok(JsonBytes(page.map_err(error::event)?.into()))
    }
}

async fn get_all(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((room_id, event_id)): Path<(RoomIdPart, EventIdPart)>,
    Query(query): Query<RelationsQuery>,
) -> Result<JsonBytes, MatrixError> {
    let wanted = (None, None);
    query
        .answer(&api, &session, (room_id, event_id), wanted)
        .await
}

async fn get_of_one_kind(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((room_id, event_id, rel_type)): Path<(RoomIdPart, EventIdPart, String)>,
    Query(query): Query<RelationsQuery>,
) -> Result<JsonBytes, MatrixError> {
    let wanted = (Some(rel_type), None);
    query
        .answer(&api, &session, (room_id, event_id), wanted)
        .await
}

async fn get_of_one_type(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((room_id, event_id, rel_type, event_type)): Path<(
        RoomIdPart,
        EventIdPart,
        String,
        String,
    )>,
    Query(query): Query<RelationsQuery>,
) -> Result<JsonBytes, MatrixError> {
    let wanted = (Some(rel_type), Some(event_type));
    query
        .answer(&api, &session, (room_id, event_id), wanted)
        .await
}
