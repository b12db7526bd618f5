//! Dehydrated devices, as they are proposed: `PUT`, `GET` and `DELETE /dehydrated_device`, and the messages to one
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>

use axum::extract;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use starling_accounts::Session;
use starling_e2ee::{DehydratedError, DehydratedMessages, KeyUpload, MOST_ON_PAGE, NewDehydrated};
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Query, Routes,
};

use super::keys::upload_refusal;
use crate::State;

const DEVICE: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
const EVENTS: &str =
    "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events";

/// The largest body, in bytes: keys of a usual size and what it takes to bring the device back.
const BODY_BYTES: usize = 512 << 10;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .put(DEVICE, Auth::User, put)
        .limit(Limited::AccountChange)
        .body_limit(BODY_BYTES)
        .get(DEVICE, Auth::User, get)
        .delete(DEVICE, Auth::User, delete)
        .limit(Limited::AccountChange)
        .get(EVENTS, Auth::User, events)
        .post(EVENTS, Auth::User, events_by_post)
}

#[derive(Deserialize)]
struct New {
    device_id: String,
    device_data: Box<RawValue>,
    initial_device_display_name: Option<String>,
    device_keys: Value,
    one_time_keys: Option<Map<String, Value>>,
    fallback_keys: Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Named {
    device_id: String,
}

async fn put(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<New>,
) -> Result<Json<Named>, MatrixError> {
    let one_time = request.one_time_keys.unwrap_or_default();
    let fallback = request.fallback_keys.unwrap_or_default();
    let keys = KeyUpload::read(Some(request.device_keys), &one_time, &fallback);
    let device_id = request.device_id;
    let new = NewDehydrated {
        device_id: device_id.clone(),
        display_name: request.initial_device_display_name,
        data: request.device_data,
        keys: keys.map_err(upload_refusal)?,
    };
    let owner = (session.user, &*session.user_id);
    let made = state.keys.dehydrate(owner, new).await;
    made.map_err(upload_refusal)?;
    Ok(Json(Named { device_id }))
}

#[derive(Serialize)]
struct Shown {
    device_id: String,
    device_data: Box<RawValue>,
}

async fn get(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<Shown>, MatrixError> {
    let device = state.keys.dehydrated(session.user).await;
    let device = device.map_err(MatrixError::internal)?.ok_or_else(none)?;
    let data = RawValue::from_string(device.data).map_err(MatrixError::internal)?;
    Ok(Json(Shown {
        device_id: device.device_id,
        device_data: data,
    }))
}

async fn delete(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<Named>, MatrixError> {
    let deleted = state.keys.delete_dehydrated(session.user).await;
    let device_id = deleted.map_err(MatrixError::internal)?.ok_or_else(none)?;
    Ok(Json(Named { device_id }))
}

fn none() -> MatrixError {
    MatrixError::not_found("You have no dehydrated device")
}

#[derive(Deserialize)]
struct Page {
    from: Option<String>,
    limit: Option<u32>,
}

async fn events(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(device_id): Path<String>,
    Query(page): Query<Page>,
) -> Result<JsonBytes, MatrixError> {
    let messages = read(&state, &session, (device_id, page)).await?;
    let has_next = messages.has_more;
    Ok(written(&messages, has_next))
}

#[derive(Deserialize)]
struct Body {
    next_batch: Option<String>,
}

/// As an earlier draft has it, and clients still ask: there is always a next page, and an empty one is the end.
async fn events_by_post(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(device_id): Path<String>,
    Query(page): Query<Page>,
    Json(body): Json<Body>,
) -> Result<JsonBytes, MatrixError> {
    let page = Page {
        from: body.next_batch,
        ..page
    };
    let messages = read(&state, &session, (device_id, page)).await?;
    Ok(written(&messages, true))
}

async fn read(
    state: &State,
    session: &Session,
    (device_id, page): (String, Page),
) -> Result<DehydratedMessages, MatrixError> {
    let page = (page.from.as_deref(), page.limit.unwrap_or(MOST_ON_PAGE));
    let device = (session.user, device_id);
    let messages = state.keys.dehydrated_messages(device, page).await;
    messages.map_err(|error| match error {
        DehydratedError::NotYours => {
            MatrixError::forbidden("This is not the id of your dehydrated device")
        }
        DehydratedError::NotAToken => {
            MatrixError::invalid_param("This is no token of an earlier page")
        }
        DehydratedError::Database(error) => MatrixError::internal(error),
    })
}

fn written(messages: &DehydratedMessages, has_next: bool) -> JsonBytes {
    let mut out = b"{\"events\":[".to_vec();
    for (number, event) in messages.events.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(event);
    }
    out.push(b']');
    if has_next {
        // Of digits and letters.
        out.extend_from_slice(format!(",\"next_batch\":\"{}\"", messages.next).as_bytes());
    }
    out.push(b'}');
    JsonBytes(out.into())
}
