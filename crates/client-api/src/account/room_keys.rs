//! Backups of room keys: `/room_keys/version` and `/room_keys/keys`, for all rooms, one room, or one session
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

use axum::body::Body;
use axum::extract;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_accounts::Session;
use starling_e2ee::{
    AllKeys, BackedUpKey, Backup, BackupError, KeyBackups, KeyData, KeyScope, NewKeys, RoomKeys,
};
use starling_http::{
    Auth, Authenticated, BoxError, Json, JsonBytes, MatrixError, Path, Query, Routes,
};
use starling_store::UserNum;

use crate::State;

const VERSIONS: &str = "/_matrix/client/v3/room_keys/version";
const VERSION: &str = "/_matrix/client/v3/room_keys/version/{version}";
const ALL: &str = "/_matrix/client/v3/room_keys/keys";
const ROOM: &str = "/_matrix/client/v3/room_keys/keys/{roomId}";
const SESSION: &str = "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}";

/// The largest body with keys, in bytes: a few thousand keys.
const KEYS_BYTES: usize = 8 << 20;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(VERSIONS, Auth::User, create)
        .get(VERSIONS, Auth::User, current)
        .get(VERSION, Auth::User, one)
        .put(VERSION, Auth::User, update)
        .delete(VERSION, Auth::User, delete)
        .put(ALL, Auth::User, put_all)
        .body_limit(KEYS_BYTES)
        .get(ALL, Auth::User, get_all)
        .delete(ALL, Auth::User, delete_all)
        .put(ROOM, Auth::User, put_room)
        .body_limit(KEYS_BYTES)
        .get(ROOM, Auth::User, get_room)
        .delete(ROOM, Auth::User, delete_room)
        .put(SESSION, Auth::User, put_session)
        .body_limit(KEYS_BYTES)
        .get(SESSION, Auth::User, get_session)
        .delete(SESSION, Auth::User, delete_session)
}

/// How a backup is encrypted.
#[derive(Deserialize)]
struct Description {
    algorithm: String,
    auth_data: Box<RawValue>,
    version: Option<String>,
}

#[derive(Serialize)]
struct Created {
    version: String,
}

/// A backup, without its keys.
#[derive(Serialize)]
struct Shown {
    algorithm: String,
    auth_data: Box<RawValue>,
    count: i64,
    etag: String,
    version: String,
}

/// What has become of a backup whose keys were changed.
#[derive(Serialize)]
struct Changed {
    count: i64,
    etag: String,
}

impl From<Backup> for Changed {
    fn from(backup: Backup) -> Self {
        Self {
            count: backup.count,
            etag: backup.etag.to_string(),
        }
    }
}

/// A key.
#[derive(Serialize)]
struct Key<'a> {
    first_message_index: i64,
    forwarded_count: i64,
    is_verified: bool,
    session_data: &'a RawValue,
}

/// Which backup is meant.
#[derive(Deserialize)]
struct Which {
    version: String,
}

impl Which {
    fn backup(&self, session: &Session) -> Result<(UserNum, i64), MatrixError> {
        Ok((session.user, number(&self.version)?))
    }
}

async fn create(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<Description>,
) -> Result<Json<Created>, MatrixError> {
    let backups = &state.key_backups;
    let created = backups.create(session.user, request.algorithm, &request.auth_data);
    let version = created.await.map_err(refusal)?.to_string();
    Ok(Json(Created { version }))
}

async fn current(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<Shown>, MatrixError> {
    let backup = state.key_backups.get(session.user, None).await;
    shown(backup.map_err(refusal)?)
}

async fn one(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(version): Path<String>,
) -> Result<Json<Shown>, MatrixError> {
    let version = number(&version)?;
    let backup = state.key_backups.get(session.user, Some(version)).await;
    shown(backup.map_err(refusal)?)
}

async fn update(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(version): Path<String>,
    Json(request): Json<Description>,
) -> Result<JsonBytes, MatrixError> {
    if request.version.is_some_and(|named| named != version) {
        let message = "`version` is another one than that in the path";
        return Err(MatrixError::invalid_param(message));
    }
    let backup = (session.user, number(&version)?);
    let backups = &state.key_backups;
    let updated = backups.update(backup, request.algorithm, &request.auth_data);
    updated.await.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

async fn delete(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(version): Path<String>,
) -> Result<JsonBytes, MatrixError> {
    let deleted = state.key_backups.delete(session.user, number(&version)?);
    deleted.await.map_err(refusal)?;
    Ok(JsonBytes::empty())
}

async fn put_all(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(which): Query<Which>,
    Json(keys): Json<AllKeys>,
) -> Result<Json<Changed>, MatrixError> {
    put(&state, &session, (which, keys)).await
}

async fn put_room(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(room): Path<String>,
    Query(which): Query<Which>,
    Json(keys): Json<RoomKeys>,
) -> Result<Json<Changed>, MatrixError> {
    put(&state, &session, (which, AllKeys::of_room(room, keys))).await
}

async fn put_session(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((room, id)): Path<(String, String)>,
    Query(which): Query<Which>,
    Json(key): Json<KeyData>,
) -> Result<Json<Changed>, MatrixError> {
    let keys = AllKeys::of_session(room, id, key);
    put(&state, &session, (which, keys)).await
}

async fn put(
    state: &State,
    session: &Session,
    (which, keys): (Which, AllKeys),
) -> Result<Json<Changed>, MatrixError> {
    let backup = which.backup(session)?;
    let keys = NewKeys::try_from(keys).map_err(refusal)?;
    let backups = &state.key_backups;
    let trusted = backups.check_trust(backup, session.device, &keys).await;
    trusted.map_err(refusal)?;
    let backup = backups.put(backup, keys).await;
    Ok(Json(backup.map_err(refusal)?.into()))
}

async fn delete_all(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(which): Query<Which>,
) -> Result<Json<Changed>, MatrixError> {
    delete_keys(&state, which.backup(&session)?, KeyScope::All).await
}

async fn delete_room(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(room): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Changed>, MatrixError> {
    delete_keys(&state, which.backup(&session)?, KeyScope::Room(room)).await
}

async fn delete_session(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((room, id)): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Result<Json<Changed>, MatrixError> {
    let scope = KeyScope::Session(room, id);
    delete_keys(&state, which.backup(&session)?, scope).await
}

async fn delete_keys(
    state: &State,
    backup: (UserNum, i64),
    scope: KeyScope,
) -> Result<Json<Changed>, MatrixError> {
    let backup = state.key_backups.delete_keys(backup, scope).await;
    Ok(Json(backup.map_err(refusal)?.into()))
}

async fn get_session(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((room, id)): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Result<JsonBytes, MatrixError> {
    let backup = which.backup(&session)?;
    let scope = KeyScope::Session(room, id);
    let keys = state.key_backups.keys(backup, scope, START).await;
    let keys = keys.map_err(refusal)?;
    let key = keys.first();
    let key = key.ok_or_else(|| MatrixError::not_found("There is no such key in the backup"))?;
    let mut out = Vec::new();
    write_key(&mut out, key).map_err(MatrixError::internal)?;
    Ok(JsonBytes(out.into()))
}

async fn get_room(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(room): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, MatrixError> {
    get(&state, which.backup(&session)?, KeyScope::Room(room)).await
}

async fn get_all(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(which): Query<Which>,
) -> Result<Response, MatrixError> {
    get(&state, which.backup(&session)?, KeyScope::All).await
}

/// Before all rooms and sessions.
const START: (String, String) = (String::new(), String::new());

/// Keys, read and written step by step: there may be many. Of rooms an object of objects, of one room its sessions.
async fn get(
    state: &State,
    backup: (UserNum, i64),
    scope: KeyScope,
) -> Result<Response, MatrixError> {
    let backups = state.key_backups.clone();
    // Before anything is written: there may be no such backup.
    let first = backups.keys(backup, scope.clone(), START).await;
    let rest = Rest {
        backups,
        backup,
        next: Some(first.map_err(refusal)?),
        room: None,
        scope,
        is_begun: false,
    };
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    let body = Body::from_stream(stream::try_unfold(rest, next));
    Ok((headers, body).into_response())
}

/// What is still to be written.
struct Rest {
    backups: KeyBackups,
    backup: (UserNum, i64),
    scope: KeyScope,
    /// The keys that were read and are not written; `None` after the end.
    next: Option<Vec<BackedUpKey>>,
    /// The room of the last key that was written.
    room: Option<String>,
    is_begun: bool,
}

async fn next(mut rest: Rest) -> Result<Option<(Bytes, Rest)>, BoxError> {
    let Some(keys) = rest.next.take() else {
        return Ok(None);
    };
    let mut out = Vec::new();
    for key in &keys {
        rest.write(&mut out, key)?;
    }
    if let Some(last) = keys.last() {
        let after = (last.room_id.clone(), last.session_id.clone());
        let following = rest.backups.keys(rest.backup, rest.scope.clone(), after);
        rest.next = Some(following.await?);
    } else {
        rest.end(&mut out);
    }
    Ok(Some((out.into(), rest)))
}

impl Rest {
    fn write(&mut self, out: &mut Vec<u8>, key: &BackedUpKey) -> Result<(), serde_json::Error> {
        let is_of_all = self.scope == KeyScope::All;
        if !std::mem::replace(&mut self.is_begun, true) {
            out.extend_from_slice(if is_of_all { br#"{"rooms":{"# } else { b"{" });
        }
        if self.room.as_ref() == Some(&key.room_id) {
            out.push(b',');
        } else {
            let previous = self.room.replace(key.room_id.clone());
            if previous.is_some() {
                out.extend_from_slice(b"}},");
            }
            if is_of_all {
                serde_json::to_writer(&mut *out, &key.room_id)?;
                out.extend_from_slice(b":{");
            }
            out.extend_from_slice(br#""sessions":{"#);
        }
        serde_json::to_writer(&mut *out, &key.session_id)?;
        out.push(b':');
        write_key(out, key)
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match (&self.scope, self.is_begun) {
            (KeyScope::All, false) => br#"{"rooms":{}}"#,
            (KeyScope::All, true) => b"}}}}",
            (_, false) => br#"{"sessions":{}}"#,
            (_, true) => b"}}",
        });
    }
}

fn write_key(out: &mut Vec<u8>, key: &BackedUpKey) -> Result<(), serde_json::Error> {
    let key = Key {
        first_message_index: key.first_message_index,
        forwarded_count: key.forwarded_count,
        is_verified: key.is_verified,
        session_data: serde_json::from_str(&key.session_data)?,
    };
    serde_json::to_writer(out, &key)
}

fn shown(backup: Backup) -> Result<Json<Shown>, MatrixError> {
    let auth_data = RawValue::from_string(backup.auth_data);
    Ok(Json(Shown {
        algorithm: backup.algorithm,
        auth_data: auth_data.map_err(MatrixError::internal)?,
        count: backup.count,
        etag: backup.etag.to_string(),
        version: backup.version.to_string(),
    }))
}

/// The number of a backup. No backup has any other text for its version.
fn number(version: &str) -> Result<i64, MatrixError> {
    let number: Option<i64> = version.parse().ok();
    let number = number.filter(|number| number.to_string() == version);
    number.ok_or_else(|| refusal(BackupError::Unknown))
}

fn wrong_version(current: i64, message: &str) -> MatrixError {
    let code = "M_WRONG_ROOM_KEYS_VERSION";
    MatrixError::new(StatusCode::FORBIDDEN, code, message)
        .with("current_version", current.to_string())
}

fn refusal(error: BackupError) -> MatrixError {
    match error {
        BackupError::Unknown => MatrixError::not_found("There is no such backup"),
        BackupError::NotCurrent { current } => {
            wrong_version(current, "This is not the newest backup")
        }
        // What clients know to begin anew by.
        BackupError::InDoubt { current } => wrong_version(
            current,
            "The server went back to an older state, and this backup may lack keys that were in it: back up all keys again",
        ),
        BackupError::OtherAlgorithm | BackupError::Algorithm | BackupError::Negative => {
            MatrixError::invalid_param(error.to_string())
        }
        BackupError::NotAnObject(_) => MatrixError::bad_json(error.to_string()),
        BackupError::TooLarge(_) | BackupError::Full => MatrixError::too_large(error.to_string()),
        BackupError::Database(error) => MatrixError::internal(error),
    }
}
