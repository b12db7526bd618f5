//! `GET /user/{userId}/rooms/{roomId}/tags`, `PUT` and `DELETE /user/{userId}/rooms/{roomId}/tags/{tag}`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>

use axum::extract;
use serde::Serialize;
use serde_json::{Map, Value};
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, MatrixError, OptionalJson, Path, Routes,
};

use super::account_data::{refusal, room};
use crate::State;
use crate::session::check_own;

const ALL: &str = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags";
const ONE: &str = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(ALL, Auth::User, get)
        .put(ONE, Auth::User, put)
        .delete(ONE, Auth::User, delete)
}

#[derive(Serialize)]
struct Tags {
    tags: Map<String, Value>,
}

async fn get(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, room_id)): Path<(String, String)>,
) -> Result<Json<Tags>, MatrixError> {
    check_own(&session, &user_id)?;
    let room = room(&state, &room_id).await?;
    let tags = state.accounts.tags(session.user, room).await;
    let tags = tags.map_err(MatrixError::internal)?;
    Ok(Json(Tags { tags }))
}

async fn put(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, room_id, name)): Path<(String, String, String)>,
    OptionalJson(tag): OptionalJson<Map<String, Value>>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    // Older clients send the order as a text: only what it can't be read as is refused.
    if !matches!(
        tag.get("order"),
        None | Some(Value::Number(_) | Value::String(_) | Value::Null)
    ) {
        return Err(MatrixError::bad_json("The order is not a number"));
    }
    let room = room(&state, &room_id).await?;
    let set = state.accounts.set_tag(session.user, room, &name, tag);
    set.await.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

async fn delete(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, room_id, name)): Path<(String, String, String)>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    let room = room(&state, &room_id).await?;
    let deleted = state.accounts.delete_tag(session.user, room, &name);
    deleted.await.map_err(refusal)?;
    Ok(JsonBytes::empty())
}
