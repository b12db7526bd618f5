//! `POST /_matrix/federation/v1/user/keys/query` and `…/claim`: the keys of this server's users.
//! <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>

use std::collections::{BTreeMap, BTreeSet};

use axum::extract;
use ruma_common::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use starling_e2ee::{Asker, ClaimedKeys, KeyClaim, KeyQuery, MOST_CLAIMED};
use starling_events::id::parse_user_id;
use starling_http::{Auth, Json, MatrixError, Routes};

use crate::State;

/// So many users are asked for at once.
const MOST_QUERIED: usize = 5_000;

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
    if request.device_keys.len() > MOST_QUERIED {
        return Err(MatrixError::too_large(format!(
            "`device_keys` has more than {MOST_QUERIED} users"
        )));
    }
    let mut wanted = KeyQuery::new();
    for (user_id, devices) in request.device_keys {
        let user_id = local(&api, "device_keys", &user_id)?;
        wanted.insert(user_id, BTreeSet::from_iter(devices));
    }
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
    let count: usize = request.one_time_keys.values().map(BTreeMap::len).sum();
    if count > MOST_CLAIMED {
        return Err(MatrixError::too_large(format!(
            "`one_time_keys` has more than {MOST_CLAIMED} devices"
        )));
    }
    let mut wanted = KeyClaim::new();
    for (user_id, devices) in request.one_time_keys {
        wanted.insert(local(&api, "one_time_keys", &user_id)?, devices);
    }
    let claimed = api.device_keys.claim_local(&wanted).await;
    Ok(Json(Claimed {
        one_time_keys: claimed.map_err(MatrixError::internal)?,
    }))
}

/// A user of this server.
fn local(api: &State, field: &str, user_id: &str) -> Result<OwnedUserId, MatrixError> {
    let user_id = parse_user_id(user_id)
        .map_err(|_| MatrixError::invalid_param(format!("`{field}` names what is no user id")))?;
    if user_id.server_name() == api.accounts.server_name() {
        Ok(user_id)
    } else {
        Err(MatrixError::invalid_param(format!(
            "`{field}` names a user of another server: ask that one"
        )))
    }
}
