//! Pushers: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers>

use axum::extract;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use starling_accounts::{PusherError, Session};
use starling_http::{Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Routes};
use starling_store::pushers::Pusher;

use crate::State;

/// The longest `pushkey`, in bytes.
const PUSHKEY_BYTES: usize = 512;

/// The longest `app_id`, in characters.
const APP_ID_CHARS: usize = 64;

/// The longest name, tag or language, in bytes.
const TEXT_BYTES: usize = 1_024;

/// The largest `data`, in bytes.
const DATA_BYTES: usize = 8_192;

/// The path that a push gateway has.
const GATEWAY_PATH: &str = "/_matrix/push/v1/notify";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/pushers", Auth::User, list)
        .post("/_matrix/client/v3/pushers/set", Auth::User, set)
        .limit(Limited::AccountChange)
}

#[derive(Serialize)]
struct Entry {
    app_display_name: String,
    app_id: String,
    data: Value,
    device_display_name: String,
    kind: String,
    lang: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_tag: Option<String>,
    pushkey: String,
}

#[derive(Serialize)]
struct List {
    pushers: Vec<Entry>,
}

async fn list(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<List>, MatrixError> {
    let pushers = state.accounts.pushers(session.user).await;
    let pushers = pushers.map_err(MatrixError::internal)?.into_iter();
    let entries = pushers.map(|pusher| {
        Ok(Entry {
            app_display_name: pusher.app_display_name,
            app_id: pusher.app_id,
            data: serde_json::from_str(&pusher.data).map_err(MatrixError::internal)?,
            device_display_name: pusher.device_display_name,
            kind: pusher.kind,
            lang: pusher.lang,
            profile_tag: pusher.profile_tag,
            pushkey: pusher.pushkey,
        })
    });
    let pushers = entries.collect::<Result<_, MatrixError>>()?;
    Ok(Json(List { pushers }))
}

#[derive(Deserialize)]
struct Set {
    pushkey: Option<String>,
    app_id: Option<String>,
    #[serde(default)]
    kind: Kind,
    app_display_name: Option<String>,
    device_display_name: Option<String>,
    profile_tag: Option<String>,
    lang: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(default)]
    append: bool,
}

/// The `kind` of a request: null is not nothing.
#[derive(Default, Deserialize)]
#[serde(from = "Option<String>")]
enum Kind {
    #[default]
    Missing,
    Null,
    Named(String),
}

impl From<Option<String>> for Kind {
    fn from(kind: Option<String>) -> Self {
        kind.map_or(Self::Null, Self::Named)
    }
}

async fn set(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(set): Json<Set>,
) -> Result<JsonBytes, MatrixError> {
    let missing = |name: &str| MatrixError::missing_param(format!("Missing parameter: {name}"));
    let pushkey = set.pushkey.clone().ok_or_else(|| missing("pushkey"))?;
    let app_id = set.app_id.clone().ok_or_else(|| missing("app_id"))?;
    check_length("pushkey", pushkey.len(), PUSHKEY_BYTES)?;
    check_length("app_id", app_id.chars().count(), APP_ID_CHARS)?;
    let kind = match &set.kind {
        Kind::Missing => return Err(missing("kind")),
        Kind::Null => {
            let deleted = state.accounts.delete_pusher(session.user, app_id, pushkey);
            deleted.await.map_err(MatrixError::internal)?;
            return Ok(JsonBytes::empty());
        }
        Kind::Named(kind) => kind.clone(),
    };
    let append = set.append;
    let pusher = read(set, kind, app_id, pushkey)?;
    let set = state
        .accounts
        .set_pusher((session.user, session.device), pusher, append);
    match set.await {
        Ok(()) => Ok(JsonBytes::empty()),
        Err(error @ PusherError::TooMany) => Err(MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_RESOURCE_LIMIT_EXCEEDED",
            error.to_string(),
        )),
        Err(PusherError::SessionEnded) => Err(MatrixError::unknown_token(false)),
        Err(PusherError::Database(error)) => Err(MatrixError::internal(error)),
    }
}

/// What a pusher that is to be set must have.
fn read(set: Set, kind: String, app_id: String, pushkey: String) -> Result<Pusher, MatrixError> {
    if kind != "http" {
        return Err(MatrixError::invalid_param(
            "This server has only pushers of the kind http",
        ));
    }
    let text = |name: &str, value: Option<String>| {
        let value = value
            .ok_or_else(|| MatrixError::missing_param(format!("Missing parameter: {name}")))?;
        check_length(name, value.len(), TEXT_BYTES).map(|()| value)
    };
    let data = set
        .data
        .ok_or_else(|| MatrixError::missing_param("Missing parameter: data"))?;
    check_data(&data)?;
    let data = Value::Object(data).to_string();
    check_length("data", data.len(), DATA_BYTES)?;
    Ok(Pusher {
        app_display_name: text("app_display_name", set.app_display_name)?,
        device_display_name: text("device_display_name", set.device_display_name)?,
        profile_tag: set
            .profile_tag
            .map(|tag| text("profile_tag", Some(tag)))
            .transpose()?,
        lang: text("lang", set.lang)?,
        app_id,
        pushkey,
        kind,
        data,
    })
}

fn check_data(data: &Map<String, Value>) -> Result<(), MatrixError> {
    let url = data
        .get("url")
        .ok_or_else(|| MatrixError::missing_param("Missing parameter: data.url"))?;
    let uri = url.as_str().and_then(|url| url.parse::<Uri>().ok());
    let is_gateway = uri.is_some_and(|uri| {
        uri.scheme_str() == Some("https")
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.path() == GATEWAY_PATH
    });
    if !is_gateway {
        return Err(MatrixError::invalid_param(format!(
            "data.url must be an https URL with the path {GATEWAY_PATH}"
        )));
    }
    // Other formats than `event_id_only` are the push gateway's affair, but not other types.
    if data.get("format").is_some_and(|format| !format.is_string()) {
        return Err(MatrixError::invalid_param("data.format must be a string"));
    }
    Ok(())
}

fn check_length(name: &str, length: usize, most: usize) -> Result<(), MatrixError> {
    if length > most {
        return Err(MatrixError::invalid_param(format!(
            "{name} is longer than {most}"
        )));
    }
    Ok(())
}
