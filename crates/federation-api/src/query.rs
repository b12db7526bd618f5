//! `GET /_matrix/federation/v1/query/{queryType}`: profiles, and where aliases lead.
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-for-information>

use std::collections::BTreeMap;

use axum::extract;
use ruma_common::{OwnedRoomId, OwnedServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_accounts::FieldName;
use starling_http::{
    Auth, Json, JsonBytes, MatrixError, Path, Query, Routes, alias_named, user_named,
};

use crate::State;

/// The most servers of a room that are told.
const MAX_SERVERS: usize = 500;

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/federation/v1/query/profile",
            Auth::Server,
            profile,
        )
        .get(
            "/_matrix/federation/v1/query/directory",
            Auth::Server,
            directory,
        )
        .get(
            "/_matrix/federation/v1/query/{queryType}",
            Auth::Server,
            other,
        )
}

#[derive(Debug, Deserialize)]
struct ProfileQuery {
    user_id: String,
    field: Option<String>,
}

/// Fields of a profile: JSON by name.
type Profile = BTreeMap<String, Box<RawValue>>;

async fn profile(
    extract::State(api): extract::State<State>,
    Query(query): Query<ProfileQuery>,
) -> Result<Json<Profile>, MatrixError> {
    let user_id = user_named("user_id", &query.user_id)?;
    if user_id.server_name() != api.accounts.server_name() {
        return Err(MatrixError::invalid_param(
            "`user_id` is of another server: ask that one",
        ));
    }
    let fields = match query.field {
        None => {
            let profile = api.accounts.profile(&user_id).await;
            let profile = profile.map_err(MatrixError::internal)?;
            let profile = profile.ok_or_else(|| MatrixError::not_found("There is no such user"))?;
            let fields = profile.into_iter();
            fields.map(|field| (field.name, field.value)).collect()
        }
        Some(name) => {
            let missing = || MatrixError::not_found("The profile has no such field");
            // Nor has anybody's one whose name no field may have.
            let field = FieldName::parse(&name).map_err(|_| missing())?;
            let value = api.accounts.profile_field(&user_id, &field).await;
            let value = value.map_err(MatrixError::internal)?;
            vec![(name, value.ok_or_else(missing)?)]
        }
    };
    let json =
        |(name, value): (String, String)| RawValue::from_string(value).map(|value| (name, value));
    let fields: Result<Profile, serde_json::Error> = fields.into_iter().map(json).collect();
    fields.map(Json).map_err(MatrixError::internal)
}

#[derive(Debug, Deserialize)]
struct DirectoryQuery {
    room_alias: String,
}

#[derive(Debug, Serialize)]
struct DirectoryAnswer {
    room_id: OwnedRoomId,
    servers: Vec<OwnedServerName>,
}

async fn directory(
    extract::State(api): extract::State<State>,
    Query(query): Query<DirectoryQuery>,
) -> Result<Json<DirectoryAnswer>, MatrixError> {
    let alias = alias_named("room_alias", &query.room_alias)?;
    let own = api.rooms.server_name();
    if alias.server_name() != own {
        return Err(MatrixError::invalid_param(
            "`room_alias` is of another server: ask that one",
        ));
    }
    let target = api.rooms.resolve_alias(&alias).await;
    let target = target.map_err(MatrixError::internal)?;
    let target = target.ok_or_else(|| MatrixError::not_found("There is no such alias"))?;
    let is_closed = api.rooms.is_closed_to_servers(&target.room_id).await;
    if is_closed.map_err(MatrixError::internal)? {
        return Err(MatrixError::not_found("There is no such alias"));
    }
    let servers = api.rooms.servers_in(&target.room_id).await;
    let mut servers = servers.map_err(MatrixError::internal)?;
    // This one is certainly up.
    servers.sort_by_key(|server| server != own);
    servers.truncate(MAX_SERVERS);
    Ok(Json(DirectoryAnswer {
        room_id: target.room_id,
        servers,
    }))
}

async fn other(Path(kind): Path<String>) -> Result<JsonBytes, MatrixError> {
    let kind: String = kind.chars().take(100).collect();
    Err(MatrixError::not_found(format!(
        "This server answers no queries of the type {kind:?}"
    )))
}
