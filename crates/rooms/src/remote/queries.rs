//! What other servers say of users, aliases and rooms.
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-for-information>

use std::time::Duration;

use ruma_common::{OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use starling_events::CanonicalObject;
use starling_outbound::{RemoteError, Request};

use super::Remote;
use super::request::{v1, with_query};

/// How long a client that waits for it is made to wait.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much of a profile is taken. It may have 64 KiB, not counting how it is written.
const PROFILE_BYTES: usize = 256 << 10;

/// How much of a list of rooms is taken.
const ROOMS_BYTES: usize = 4 << 20;

/// Where an alias leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasAnswer {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that are likely in it.
    pub servers: Vec<OwnedServerName>,
}

#[derive(Deserialize)]
struct AliasBody {
    room_id: OwnedRoomId,
    #[serde(default)]
    servers: Vec<String>,
}

/// A page of a server's directory.
#[derive(Debug, Deserialize, Serialize)]
pub struct PublicRooms {
    /// What it says of each room.
    pub chunk: Vec<Box<RawValue>>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// Where the page before begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// About how many rooms there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_room_count_estimate: Option<u64>,
}

/// A space, as far as another server may know of it.
#[derive(Debug, Deserialize)]
pub struct Hierarchy {
    /// What there is to say of it.
    pub room: Box<RawValue>,
    /// Of its children.
    #[serde(default)]
    pub children: Vec<Box<RawValue>>,
    /// Children that this server may not know of.
    #[serde(default)]
    pub inaccessible_children: Vec<OwnedRoomId>,
}

impl Remote {
    /// The profile of a user of another server, or one field of it.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn profile(
        &self,
        user: &UserId,
        field: Option<&str>,
    ) -> Result<Map<String, Value>, RemoteError> {
        let mut query = vec![("user_id", user.as_str())];
        query.extend(field.map(|field| ("field", field)));
        let request = Request::get(with_query(v1("query/profile", &[]), &query))
            .patience(PATIENCE)
            .eager()
            .answer_bytes(PROFILE_BYTES);
        self.ask(user.server_name(), request).await
    }

    /// Where an alias of another server leads.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn directory(&self, alias: &RoomAliasId) -> Result<AliasAnswer, RemoteError> {
        let query = [("room_alias", alias.as_str())];
        let uri = with_query(v1("query/directory", &[]), &query);
        let request = Request::get(uri).patience(PATIENCE).eager();
        let AliasBody { room_id, servers } = self.ask(alias.server_name(), request).await?;
        let servers = servers.into_iter().filter_map(|name| name.try_into().ok());
        Ok(AliasAnswer {
            room_id,
            servers: servers.collect(),
        })
    }

    /// A page of a server's directory, by what `body` asks for.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn public_rooms(
        &self,
        server: &ServerName,
        body: &CanonicalObject,
    ) -> Result<PublicRooms, RemoteError> {
        let request = Request::post(v1("publicRooms", &[]), body.as_bytes().to_vec())
            .patience(PATIENCE)
            .eager()
            .answer_bytes(ROOMS_BYTES);
        self.ask(server, request).await
    }

    /// A space and its children.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn hierarchy(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        suggested_only: bool,
    ) -> Result<Hierarchy, RemoteError> {
        let suggested = if suggested_only { "true" } else { "false" };
        let path = v1("hierarchy", &[room_id.as_str()]);
        let request = Request::get(with_query(path, &[("suggested_only", suggested)]))
            .patience(PATIENCE)
            .answer_bytes(ROOMS_BYTES);
        self.ask(server, request).await
    }
}
