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
    if !is_order(tag.get("order")) {
        let message = "`order` must be a number from 0 to 1";
        return Err(MatrixError::bad_json(message));
    }
    let room = room(&state, &room_id).await?;
    let set = state.accounts.set_tag(session.user, room, &name, tag);
    set.await.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

/// Whether a tag may have this `order`. Older clients send the number as a text.
fn is_order(order: Option<&Value>) -> bool {
    let number = match order {
        None | Some(Value::Null) => return true,
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_f64(),
    };
    number.is_some_and(|number| (0.0..=1.0).contains(&number))
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
