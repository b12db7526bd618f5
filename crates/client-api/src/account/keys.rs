//! Devices' keys: <https://spec.matrix.org/v1.19/client-server-api/#key-management-api>

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract;
use http::StatusCode;
use ruma_common::{OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use starling_accounts::Session;
use starling_e2ee::{
    AskedError, ClaimedKeys, Failures, KeyUpload, LONGEST_PATIENCE, Owner, USUAL_PATIENCE,
    UploadError, read_claim, read_query,
};
use starling_http::{Auth, Authenticated, Caller, Json, Limited, MatrixError, Query, Routes};

use crate::State;
use crate::room::{reader, sync_error};

/// The largest upload, in bytes: 500 keys of a usual size, several times.
const UPLOAD_BYTES: usize = 512 << 10;

/// However little time a client leaves, other servers get this much.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// Servers that gave no answer, each with why.
type Unreached = BTreeMap<OwnedServerName, BTreeMap<&'static str, String>>;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post("/_matrix/client/v3/keys/upload", Auth::Guest, upload)
        .body_limit(UPLOAD_BYTES)
        .post("/_matrix/client/v3/keys/query", Auth::Guest, query)
        .post("/_matrix/client/v3/keys/claim", Auth::Guest, claim)
        .get("/_matrix/client/v3/keys/changes", Auth::User, changes)
}

pub(super) fn owner(session: &Session) -> Owner {
    Owner {
        user: session.user,
        user_id: session.user_id.clone(),
        device: session.device,
        device_id: session.device_id.clone(),
    }
}

#[derive(Deserialize)]
struct Upload {
    #[serde(rename = "device_keys")]
    device: Option<Value>,
    #[serde(rename = "one_time_keys")]
    one_time: Option<Map<String, Value>>,
    #[serde(rename = "fallback_keys")]
    fallback: Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Counts {
    one_time_key_counts: BTreeMap<String, i64>,
}

async fn upload(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<Upload>,
) -> Result<Json<Counts>, MatrixError> {
    let Upload {
        device,
        one_time,
        fallback,
    } = request;
    let (one_time, fallback) = (one_time.unwrap_or_default(), fallback.unwrap_or_default());
    let upload = KeyUpload::read(device, &one_time, &fallback);
    let upload = upload.map_err(upload_refusal)?;
    let owner = owner(&session);
    // All who share a room with the user are told of other keys.
    let changes = state.keys.changes_device(&owner, &upload).await;
    if changes.map_err(MatrixError::internal)? {
        let caller = Caller::User(session.user.0);
        state.limiter.take(Limited::AccountChange, caller)?;
    }
    let counts = state.keys.upload(&owner, upload).await;
    let counts = counts.map_err(upload_refusal)?;
    Ok(Json(Counts {
        one_time_key_counts: counts.one_time.clone(),
    }))
}

pub(super) fn upload_refusal(error: UploadError) -> MatrixError {
    let message = error.to_string();
    match error {
        UploadError::Invalid(_) | UploadError::Exists(_) | UploadError::TooMany(_) => {
            MatrixError::invalid_param(message)
        }
        UploadError::Signature(_) => invalid_signature(message),
        UploadError::NoDevice => MatrixError::unknown_token(false),
        UploadError::Database(error) => MatrixError::internal(error),
    }
}

pub(super) fn invalid_signature(message: String) -> MatrixError {
    MatrixError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", message)
}

#[derive(Deserialize)]
struct KeysQuery {
    device_keys: BTreeMap<String, Vec<String>>,
    timeout: Option<u64>,
}

#[derive(Serialize)]
struct Queried {
    device_keys: BTreeMap<OwnedUserId, BTreeMap<String, Value>>,
    master_keys: BTreeMap<OwnedUserId, Value>,
    self_signing_keys: BTreeMap<OwnedUserId, Value>,
    user_signing_keys: BTreeMap<OwnedUserId, Value>,
    failures: Unreached,
}

async fn query(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(request): Json<KeysQuery>,
) -> Result<Json<Queried>, MatrixError> {
    let wanted = read_query(request.device_keys, None).map_err(|error| asked_refusal(&error))?;
    let patience = patience(request.timeout);
    let queried = state.keys.query(session.user, wanted, patience).await;
    let (queried, failed) = queried.map_err(MatrixError::internal)?;
    Ok(Json(Queried {
        device_keys: queried.device_keys,
        master_keys: queried.master_keys,
        self_signing_keys: queried.self_signing_keys,
        user_signing_keys: queried.user_signing_keys,
        failures: failures(failed),
    }))
}

#[derive(Deserialize)]
struct ClaimQuery {
    one_time_keys: BTreeMap<String, BTreeMap<String, String>>,
    timeout: Option<u64>,
}

#[derive(Serialize)]
struct Claimed {
    one_time_keys: ClaimedKeys,
    failures: Unreached,
}

async fn claim(
    extract::State(state): extract::State<State>,
    Authenticated(_session): Authenticated<Session>,
    Json(request): Json<ClaimQuery>,
) -> Result<Json<Claimed>, MatrixError> {
    let wanted = read_claim(request.one_time_keys, None).map_err(|error| asked_refusal(&error))?;
    let claimed = state.keys.claim(wanted, patience(request.timeout)).await;
    let (one_time_keys, failed) = claimed.map_err(MatrixError::internal)?;
    Ok(Json(Claimed {
        one_time_keys,
        failures: failures(failed),
    }))
}

fn asked_refusal(error: &AskedError) -> MatrixError {
    let message = error.to_string();
    match error {
        AskedError::TooMany(..) => MatrixError::too_large(message),
        AskedError::NoUser(_) | AskedError::Elsewhere(_) => MatrixError::invalid_param(message),
    }
}

/// How long other servers are waited for, of what the client says, in milliseconds.
fn patience(timeout: Option<u64>) -> Duration {
    let asked = timeout.map_or(USUAL_PATIENCE, Duration::from_millis);
    asked.clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE)
}

/// Servers that gave no answer, each with why.
fn failures(failed: Failures) -> Unreached {
    let failed = failed.into_iter();
    failed
        .map(|(server, why)| (server, BTreeMap::from([("error", why)])))
        .collect()
}

#[derive(Deserialize)]
struct ChangesQuery {
    from: String,
    to: String,
}

#[derive(Serialize)]
struct Changes {
    changed: BTreeSet<String>,
    left: BTreeSet<String>,
}

async fn changes(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(query): Query<ChangesQuery>,
) -> Result<Json<Changes>, MatrixError> {
    let changes = state
        .sync
        .key_changes(&reader(&session), &query.from, &query.to)
        .await
        .map_err(sync_error)?;
    Ok(Json(Changes {
        changed: changes.changed,
        left: changes.left,
    }))
}
