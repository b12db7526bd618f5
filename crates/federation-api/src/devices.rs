//! `GET /_matrix/federation/v1/user/devices/{userId}`
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>

use axum::extract;
use ruma_common::OwnedUserId;
use serde::Serialize;
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
    /// Those with keys: no device has any, as long as this server takes none.
    devices: [(); 0],
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
    Ok(Json(Answer {
        user_id,
        stream_id: 0,
        devices: [],
    }))
}
