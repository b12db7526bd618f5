//! Account data: <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use axum::extract;
use http::StatusCode;
use ruma_common::RoomId;
use serde::de::IgnoredAny;
use starling_accounts::{AccountDataError, Session};
use starling_http::{
    Auth, Authenticated, JsonBytes, MatrixError, Path, RawBody, Routes, parse_json,
};
use starling_store::RoomNum;

use crate::State;
use crate::session::check_own;

const GLOBAL: &str = "/_matrix/client/v3/user/{userId}/account_data/{type}";
const OF_ROOM: &str = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
const UNSTABLE_GLOBAL: &str =
    "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}";
const UNSTABLE_OF_ROOM: &str =
    "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(GLOBAL, Auth::User, get)
        .put(GLOBAL, Auth::User, set)
        .get(OF_ROOM, Auth::User, get_of_room)
        .put(OF_ROOM, Auth::User, set_of_room)
        // No version of the specification has these yet: clients look for the feature `org.matrix.msc3391`, and those that
        // don't, try the path that it would have.
        .delete(GLOBAL, Auth::User, delete)
        .also(UNSTABLE_GLOBAL)
        .delete(OF_ROOM, Auth::User, delete_of_room)
        .also(UNSTABLE_OF_ROOM)
}

async fn get(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, kind)): Path<(String, String)>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    read(&state, &session, None, &kind).await
}

async fn set(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, kind)): Path<(String, String)>,
    RawBody(body): RawBody,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    write(&state, &session, None, &kind, &body).await
}

async fn get_of_room(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, room_id, kind)): Path<(String, String, String)>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    let room = room(&state, &room_id).await?;
    read(&state, &session, Some(room), &kind).await
}

async fn set_of_room(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, room_id, kind)): Path<(String, String, String)>,
    RawBody(body): RawBody,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    let room = room(&state, &room_id).await?;
    write(&state, &session, Some(room), &kind, &body).await
}

async fn delete(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, kind)): Path<(String, String)>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    remove(&state, &session, None, &kind).await
}

async fn delete_of_room(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, room_id, kind)): Path<(String, String, String)>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    let room = room(&state, &room_id).await?;
    remove(&state, &session, Some(room), &kind).await
}

pub(super) async fn room(state: &State, room_id: &str) -> Result<RoomNum, MatrixError> {
    let room_id = RoomId::parse(room_id)
        .map_err(|_| MatrixError::invalid_param("`roomId` in the path is not a room id"))?;
    let room = state
        .store
        .room_num(&room_id)
        .await
        .map_err(MatrixError::internal)?;
    room.ok_or_else(|| MatrixError::not_found("This server does not know the room"))
}

async fn read(
    state: &State,
    session: &Session,
    room: Option<RoomNum>,
    kind: &str,
) -> Result<JsonBytes, MatrixError> {
    let content = state
        .accounts
        .account_data(session.user, room, kind)
        .await
        .map_err(MatrixError::internal)?;
    let content =
        content.ok_or_else(|| MatrixError::not_found("There is no account data of this type"))?;
    Ok(JsonBytes(content.into()))
}

async fn write(
    state: &State,
    session: &Session,
    room: Option<RoomNum>,
    kind: &str,
    body: &[u8],
) -> Result<JsonBytes, MatrixError> {
    parse_json::<IgnoredAny>(body)?;
    let content =
        std::str::from_utf8(body).map_err(|_| MatrixError::not_json("The content is not UTF-8"))?;
    match state
        .accounts
        .set_account_data(session.user, room, kind, content.to_owned())
        .await
    {
        Ok(()) => Ok(JsonBytes::empty()),
        Err(error) => Err(refusal(error)),
    }
}

async fn remove(
    state: &State,
    session: &Session,
    room: Option<RoomNum>,
    kind: &str,
) -> Result<JsonBytes, MatrixError> {
    let removed = state.accounts.delete_account_data(session.user, room, kind);
    match removed.await {
        Ok(()) => Ok(JsonBytes::empty()),
        Err(error) => Err(refusal(error)),
    }
}

pub(super) fn refusal(error: AccountDataError) -> MatrixError {
    let message = error.to_string();
    match error {
        AccountDataError::ServerControlled => {
            MatrixError::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", message)
        }
        AccountDataError::InvalidType => MatrixError::invalid_param(message),
        AccountDataError::TooLarge => MatrixError::too_large(message),
        AccountDataError::NotAnObject => MatrixError::bad_json(message),
        AccountDataError::Database(_) => MatrixError::internal(error),
    }
}
