//! `GET /_matrix/federation/v1/user/devices/{userId}`
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>

use axum::extract;
use ruma_common::OwnedUserId;
use serde::Serialize;
use serde_json::Value;
use starling_e2ee::DeviceSnapshot;
use starling_http::{Auth, Json, MatrixError, Path, Routes, UserIdPart};

use crate::State;

pub(crate) fn routes() -> Routes<State> {
    Routes::new().get(
        "/_matrix/federation/v1/user/devices/{userId}",
        Auth::Server,
        devices,
    )
}

#[derive(Debug, Serialize)]
struct Answer {
    user_id: OwnedUserId,
    /// Which version of the list this is.
    stream_id: i64,
    /// Those with keys.
    devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signing_key: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Device {
    device_id: String,
    keys: Value,
}

async fn devices(
    extract::State(api): extract::State<State>,
    Path(UserIdPart(user_id)): Path<UserIdPart>,
) -> Result<Json<Answer>, MatrixError> {
    if user_id.server_name() != api.accounts.server_name() {
        return Err(MatrixError::invalid_param(
            "The user is of another server: ask that one",
        ));
    }
    let profile = api.accounts.profile(&user_id).await;
    if profile.map_err(MatrixError::internal)?.is_none() {
        return Err(MatrixError::not_found("There is no such user"));
    }
    let snapshot = api.device_keys.device_snapshot(user_id.clone()).await;
    let DeviceSnapshot {
        stream_id,
        mut keys,
    } = snapshot.map_err(MatrixError::internal)?;
    let devices = keys.device_keys.remove(&user_id).unwrap_or_default();
    let devices = devices.into_iter();
    Ok(Json(Answer {
        stream_id,
        devices: devices
            .map(|(device_id, keys)| Device { device_id, keys })
            .collect(),
        master_key: keys.master_keys.remove(&user_id),
        self_signing_key: keys.self_signing_keys.remove(&user_id),
        user_id,
    }))
}
