//! `GET` and `POST /_matrix/federation/v1/publicRooms`
//! <https://spec.matrix.org/v1.19/server-server-api/#published-room-directory>

use axum::extract;
use serde::{Deserialize, Serialize};
use starling_http::{Auth, Json, MatrixError, Query, Routes};
use starling_rooms::{DirectoryQuery, PublishedRoom};

use crate::State;

const PUBLIC_ROOMS: &str = "/_matrix/federation/v1/publicRooms";

/// The most types of rooms that can be asked for at once.
const MAX_TYPES: usize = 100;

/// The largest body of a search, in bytes.
const SEARCH_BODY_BYTES: usize = 64 << 10;

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .get(PUBLIC_ROOMS, Auth::Server, list)
        .post(PUBLIC_ROOMS, Auth::Server, search)
        .body_limit(SEARCH_BODY_BYTES)
}

/// What is asked for, in the query or in the body.
#[derive(Debug, Deserialize)]
struct Wanted {
    limit: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    include_all_networks: bool,
    third_party_instance_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SearchBody {
    // Not as one flattened struct: then errors would not name the property.
    limit: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    include_all_networks: bool,
    third_party_instance_id: Option<String>,
    filter: Option<Filter>,
}

#[derive(Debug, Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    chunk: Vec<PublishedRoom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    total_room_count_estimate: i64,
}

async fn list(
    extract::State(api): extract::State<State>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Answer>, MatrixError> {
    page(&api, wanted, Filter::default()).await
}

async fn search(
    extract::State(api): extract::State<State>,
    Json(body): Json<SearchBody>,
) -> Result<Json<Answer>, MatrixError> {
    let wanted = Wanted {
        limit: body.limit,
        since: body.since,
        include_all_networks: body.include_all_networks,
        third_party_instance_id: body.third_party_instance_id,
    };
    page(&api, wanted, body.filter.unwrap_or_default()).await
}

async fn page(api: &State, wanted: Wanted, filter: Filter) -> Result<Json<Answer>, MatrixError> {
    if !api.config.directory.public_over_federation {
        let message = "This server tells other servers nothing of its rooms";
        return Err(MatrixError::forbidden(message));
    }
    if wanted.third_party_instance_id.is_some() {
        if wanted.include_all_networks {
            let message = "third_party_instance_id goes with include_all_networks false only";
            return Err(MatrixError::invalid_param(message));
        }
        // No network is bridged to this server.
        return Ok(Json(Answer::default()));
    }
    if filter.room_types.as_ref().map_or(0, Vec::len) > MAX_TYPES {
        let message = format!("At most {MAX_TYPES} types of rooms can be asked for at once");
        return Err(MatrixError::invalid_param(message));
    }
    let page = DirectoryQuery::page(wanted.limit, wanted.since.as_deref());
    let page = page.map_err(|_| MatrixError::invalid_param("since is not a token of this list"))?;
    let query = DirectoryQuery {
        term: filter
            .generic_search_term
            .filter(|term| !term.trim().is_empty()),
        room_types: filter.room_types,
        for_servers: true,
        ..page
    };
    let page = api.rooms.directory(query).await;
    let page = page.map_err(MatrixError::internal)?;
    Ok(Json(Answer {
        chunk: page.rooms.into_iter().map(PublishedRoom::from).collect(),
        next_batch: page.next.map(|token| token.to_string()),
        prev_batch: page.prev.map(|token| token.to_string()),
        total_room_count_estimate: page.total,
    }))
}
