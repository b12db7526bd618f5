//! `POST /user_directory/search`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch>

use axum::extract;
use ruma_common::OwnedUserId;
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, MatrixError, Routes};
use starling_search::{FoundUser, MAX_USERS};

use crate::State;

/// Users of an answer when the client doesn't say how many.
const DEFAULT_LIMIT: usize = 10;

/// The longest text that is looked for, in bytes.
const TERM_BYTES: usize = 1024;

/// The largest body, in bytes: JSON may write each byte of the text as six.
const BODY_BYTES: usize = 16 << 10;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/user_directory/search",
            Auth::User,
            search,
        )
        .body_limit(BODY_BYTES)
}

#[derive(Debug, Deserialize)]
struct SearchBody {
    search_term: String,
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SearchAnswer {
    results: Vec<FoundEntry>,
    limited: bool,
}

#[derive(Debug, Serialize)]
struct FoundEntry {
    user_id: OwnedUserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

async fn search(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(SearchBody { search_term, limit }): Json<SearchBody>,
) -> Result<Json<SearchAnswer>, MatrixError> {
    if search_term.len() > TERM_BYTES {
        let message = format!("What is looked for has at most {TERM_BYTES} bytes");
        return Err(MatrixError::invalid_param(message));
    }
    let limit = limit.map_or(DEFAULT_LIMIT, |limit| {
        usize::try_from(limit).unwrap_or(MAX_USERS)
    });
    let found = api.search.users(session.user, &search_term, limit).await;
    let found = found.map_err(MatrixError::internal)?;
    let user = |user: FoundUser| FoundEntry {
        user_id: user.user_id,
        display_name: user.display_name,
        avatar_url: user.avatar_url,
    };
    Ok(Json(SearchAnswer {
        results: found.users.into_iter().map(user).collect(),
        limited: found.limited,
    }))
}
