//! `POST /_matrix/federation/v1/user/keys/query` and `…/claim`: the keys of this server's users.
//! <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>

use std::collections::BTreeMap;

use axum::extract;
use ruma_common::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use starling_e2ee::{AskedError, Asker, ClaimedKeys, read_claim, read_query};
use starling_http::{Auth, Json, MatrixError, Routes};

use crate::State;

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/federation/v1/user/keys/query",
            Auth::Server,
            query,
        )
        .post(
            "/_matrix/federation/v1/user/keys/claim",
            Auth::Server,
            claim,
        )
}

#[derive(Deserialize)]
struct Query {
    device_keys: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
struct Queried {
    #[serde(rename = "device_keys")]
    devices: BTreeMap<OwnedUserId, BTreeMap<String, Value>>,
    #[serde(rename = "master_keys")]
    masters: BTreeMap<OwnedUserId, Value>,
    #[serde(rename = "self_signing_keys")]
    self_signing: BTreeMap<OwnedUserId, Value>,
}

async fn query(
    extract::State(api): extract::State<State>,
    Json(request): Json<Query>,
) -> Result<Json<Queried>, MatrixError> {
    let own = api.accounts.server_name();
    let wanted = read_query(request.device_keys, Some(own));
    let wanted = wanted.map_err(|error| refusal(&error))?;
    let queried = api.device_keys.query_local(Asker::Server, wanted).await;
    let queried = queried.map_err(MatrixError::internal)?;
    Ok(Json(Queried {
        devices: queried.device_keys,
        masters: queried.master_keys,
        self_signing: queried.self_signing_keys,
    }))
}

#[derive(Deserialize)]
struct Claim {
    one_time_keys: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Claimed {
    one_time_keys: ClaimedKeys,
}

async fn claim(
    extract::State(api): extract::State<State>,
    Json(request): Json<Claim>,
) -> Result<Json<Claimed>, MatrixError> {
    let own = api.accounts.server_name();
    let wanted = read_claim(request.one_time_keys, Some(own));
    let wanted = wanted.map_err(|error| refusal(&error))?;
    let claimed = api.device_keys.claim_local(&wanted).await;
    Ok(Json(Claimed {
        one_time_keys: claimed.map_err(MatrixError::internal)?,
    }))
}

fn refusal(error: &AskedError) -> MatrixError {
    let message = error.to_string();
    match error {
        AskedError::TooMany(..) => MatrixError::too_large(message),
        AskedError::NoUser(_) | AskedError::Elsewhere(_) => MatrixError::invalid_param(message),
    }
}
