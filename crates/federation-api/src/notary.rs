//! `POST /_matrix/key/v2/query` and `GET /_matrix/key/v2/query/{serverName}`: this server vouches for the keys of others.
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract;
use ruma_common::OwnedServerName;
use serde::Deserialize;
use starling_events::id::parse_server_name;
use starling_events::sign::sign_json;
use starling_events::{CanonicalObject, KeyValidity};
use starling_http::{Auth, Json, JsonBytes, MatrixError, Path, Query, Routes};
use starling_outbound::Keys;
use starling_store::server_keys::KnownKey;

use crate::State;

/// The most servers of one request.
const MAX_SERVERS: usize = 100;
/// The most keys of one request.
const MAX_KEYS: usize = 256;
/// Of a server of which all keys are wanted, so many are told: those that were published last.
const NEWEST: usize = 8;
/// How long servers may take to say what their keys are.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .post("/_matrix/key/v2/query", Auth::None, query)
        .get("/_matrix/key/v2/query/{serverName}", Auth::None, query_one)
}

#[derive(Debug, Deserialize)]
struct Body {
    server_keys: BTreeMap<String, BTreeMap<String, Criteria>>,
}

#[derive(Debug, Deserialize)]
struct Criteria {
    /// In milliseconds since 1970.
    minimum_valid_until_ts: Option<i64>,
}

async fn query(
    extract::State(api): extract::State<State>,
    Json(body): Json<Body>,
) -> Result<JsonBytes, MatrixError> {
    let keys: usize = body.server_keys.values().map(BTreeMap::len).sum();
    if body.server_keys.len() > MAX_SERVERS || keys > MAX_KEYS {
        return Err(MatrixError::invalid_param(format!(
            "At most {MAX_SERVERS} servers and {MAX_KEYS} keys can be asked for at once"
        )));
    }
    let mut wanted = BTreeMap::new();
    for (server, keys) in body.server_keys {
        let keys = keys.into_iter();
        let keys = keys.map(|(key_id, criteria)| (key_id, criteria.minimum_valid_until_ts));
        let wants = Wanted {
            keys: keys.collect(),
            until_ms: None,
        };
        wanted.insert(server_named(&server)?, wants);
    }
    answer(&api, wanted).await
}

#[derive(Debug, Deserialize)]
struct OneQuery {
    /// In milliseconds since 1970.
    minimum_valid_until_ts: Option<i64>,
}

async fn query_one(
    extract::State(api): extract::State<State>,
    Path(server): Path<String>,
    Query(query): Query<OneQuery>,
) -> Result<JsonBytes, MatrixError> {
    let wants = Wanted {
        keys: BTreeMap::new(),
        until_ms: query.minimum_valid_until_ts,
    };
    let wanted = BTreeMap::from([(server_named(&server)?, wants)]);
    answer(&api, wanted).await
}

fn server_named(text: &str) -> Result<OwnedServerName, MatrixError> {
    let server = parse_server_name(text);
    server.map_err(|_| MatrixError::invalid_param("A server's name is none"))
}

/// What is wanted of a server.
struct Wanted {
    /// These keys, and until when each should hold; all when there are none.
    keys: BTreeMap<String, Option<i64>>,
    /// Until when they should hold where all are wanted.
    until_ms: Option<i64>,
}

impl Wanted {
    /// Whether what is known doesn't do.
    fn is_missing(&self, server: &OwnedServerName, known: &Keys, now_ms: i64) -> bool {
        let of = || known.of(server);
        if self.keys.is_empty() {
            let newest = of().max_by_key(|(_, known)| known.fetched_ms);
            return newest.is_none_or(|(_, known)| is_stale(known, self.until_ms, now_ms));
        }
        self.keys.iter().any(|(wanted, until_ms)| {
            let known = of().find(|(key_id, _)| key_id == wanted);
            known.is_none_or(|(_, known)| is_stale(known, *until_ms, now_ms))
        })
    }

    /// The ids of the keys that are told.
    fn told(&self, server: &OwnedServerName, known: &Keys) -> Vec<String> {
        if !self.keys.is_empty() {
            return self.keys.keys().cloned().collect();
        }
        let mut newest: Vec<(i64, &str)> = known
            .of(server)
            .map(|(key_id, known)| (-known.fetched_ms, key_id))
            .collect();
        newest.sort_unstable();
        let newest = newest.into_iter().take(NEWEST);
        newest.map(|(_, key_id)| key_id.to_owned()).collect()
    }
}

/// Whether the server should be asked again: the key doesn't hold as long as is wanted, or half of its time is over.
fn is_stale(known: &KnownKey, until_ms: Option<i64>, now_ms: i64) -> bool {
    let KeyValidity::Until(end_ms) = known.key.validity else {
        return false;
    };
    match until_ms {
        Some(until_ms) => end_ms < until_ms.max(now_ms),
        None => known.fetched_ms.midpoint(end_ms) < now_ms,
    }
}

async fn answer(
    api: &State,
    mut wanted: BTreeMap<OwnedServerName, Wanted>,
) -> Result<JsonBytes, MatrixError> {
    let identity = api.client.identity();
    let wants_own = wanted.remove(&identity.server_name).is_some();
    let servers: Vec<OwnedServerName> = wanted.keys().cloned().collect();
    let mut known = api
        .keys
        .known(&servers)
        .await
        .map_err(MatrixError::internal)?;
    let now_ms = api.clock.now_ms();
    let missing = wanted
        .iter()
        .filter(|(server, wants)| wants.is_missing(server, &known, now_ms));
    let missing: BTreeSet<OwnedServerName> = missing.map(|(server, _)| server.clone()).collect();
    if !missing.is_empty() {
        // Who doesn't answer in time is told of as far as it is known.
        tokio::time::timeout(PATIENCE, api.keys.refresh(&missing))
            .await
            .ok();
        known = api
            .keys
            .known(&servers)
            .await
            .map_err(MatrixError::internal)?;
    }
    let told = wanted.iter().flat_map(|(server, wants)| {
        let keys = wants.told(server, &known).into_iter();
        keys.map(move |key_id| (server.clone(), key_id))
    });
    let documents = api.keys.documents(told.collect()).await;
    let mut told = Vec::new();
    if wants_own {
        let own = api.own_keys().document(api);
        told.push(own.map_err(MatrixError::internal)?.to_vec());
    }
    for document in documents.map_err(MatrixError::internal)? {
        // What isn't canonical JSON of today cannot be signed.
        let Ok(mut document) = CanonicalObject::parse(&document) else {
            continue;
        };
        let own = identity.server_name.as_str();
        sign_json(&mut document, own, &identity.signing_key);
        told.push(document.as_bytes().to_vec());
    }
    let told = told.join(&b',');
    let body = [b"{\"server_keys\":[", told.as_slice(), b"]}"].concat();
    Ok(JsonBytes(body.into()))
}
