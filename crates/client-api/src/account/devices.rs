//! Listing, naming and deleting devices: <https://spec.matrix.org/v1.19/client-server-api/#device-management>

use std::collections::HashSet;

use axum::extract;
use serde::{Deserialize, Serialize};
use starling_accounts::{Device, RenameError, Session};
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, OptionalJson, Path, Routes,
};

use super::register::device_refusal;
use crate::State;
use crate::interactive_auth::{AuthData, BY_PASSWORD, Guarded, Refusal, authorize};

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/devices", Auth::Guest, list)
        .get("/_matrix/client/v3/devices/{deviceId}", Auth::Guest, one)
        .put("/_matrix/client/v3/devices/{deviceId}", Auth::Guest, rename)
        .limit(Limited::AccountChange)
        .delete(
            "/_matrix/client/v3/devices/{deviceId}",
            Auth::User,
            delete_one,
        )
        .limit(Limited::AccountChange)
        .post("/_matrix/client/v3/delete_devices", Auth::User, delete_many)
        .limit(Limited::AccountChange)
        .body_limit(DELETE_BYTES)
}

/// The largest list of devices to delete, in bytes: it is held while a password waits to be checked.
const DELETE_BYTES: usize = 256 << 10;

#[derive(Serialize)]
struct Entry {
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ts: Option<i64>,
}

impl From<Device> for Entry {
    fn from(device: Device) -> Self {
        Self {
            device_id: device.device_id,
            display_name: device.display_name,
            last_seen_ip: device.last_seen_ip,
            last_seen_ts: device.last_seen_at,
        }
    }
}

#[derive(Serialize)]
struct List {
    devices: Vec<Entry>,
}

async fn list(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<List>, MatrixError> {
    let devices = state.accounts.devices(session.user).await;
    let devices = devices.map_err(MatrixError::internal)?;
    let devices = devices.into_iter().map(Entry::from).collect();
    Ok(Json(List { devices }))
}

async fn one(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(device_id): Path<String>,
) -> Result<Json<Entry>, MatrixError> {
    let device = state.accounts.device(session.user, device_id).await;
    let device = device.map_err(MatrixError::internal)?.ok_or_else(unknown)?;
    Ok(Json(device.into()))
}

#[derive(Deserialize)]
struct Rename {
    display_name: Option<String>,
}

async fn rename(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(device_id): Path<String>,
    Json(request): Json<Rename>,
) -> Result<JsonBytes, MatrixError> {
    let accounts = &state.accounts;
    let Some(name) = request.display_name else {
        // Nothing is to change; of a device that is not there that would be no answer.
        let device = accounts.device(session.user, device_id).await;
        let device = device.map_err(MatrixError::internal)?;
        return device.map(|_| JsonBytes::empty()).ok_or_else(unknown);
    };
    let renamed = accounts.rename_device(session.user, device_id, name).await;
    renamed.map_err(|error| match error {
        RenameError::Name(error) => device_refusal(error),
        RenameError::Unknown => unknown(),
        RenameError::Database(_) => MatrixError::internal(error),
    })?;
    Ok(JsonBytes::empty())
}

#[derive(Deserialize)]
struct DeleteOne {
    auth: Option<AuthData>,
}

async fn delete_one(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(device_id): Path<String>,
    OptionalJson(request): OptionalJson<DeleteOne>,
) -> Result<JsonBytes, Refusal> {
    let what = format!("DELETE /devices/{device_id}");
    let device_ids = HashSet::from([device_id]);
    delete(&state, &session, (&what, request.auth), device_ids).await
}

#[derive(Deserialize)]
struct DeleteMany {
    auth: Option<AuthData>,
    devices: HashSet<String>,
}

async fn delete_many(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<DeleteMany>,
) -> Result<JsonBytes, Refusal> {
    let guarded = ("POST /delete_devices", request.auth);
    delete(&state, &session, guarded, request.devices).await
}

/// Devices that are not there (any longer) are as good as deleted.
async fn delete(
    state: &State,
    session: &Session,
    (what, auth): (&str, Option<AuthData>),
    device_ids: HashSet<String>,
) -> Result<JsonBytes, Refusal> {
    let guarded = Guarded {
        what,
        session: Some(session),
        flows: BY_PASSWORD,
    };
    authorize(state, guarded, auth).await?;
    let deleted = state
        .accounts
        .delete_devices(session.user, device_ids)
        .await;
    deleted.map_err(MatrixError::internal)?;
    Ok(JsonBytes::empty())
}

fn unknown() -> MatrixError {
    MatrixError::not_found("You have no such device")
}
