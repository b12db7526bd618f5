//! `GET /mutual_rooms`: <https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms>

use axum::extract;
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, MatrixError, Query, Routes};
use starling_rooms::{MUTUAL_ROOMS_PAGE, MutualRooms};

use super::actor;
use super::path::user_named;
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v1/mutual_rooms", Auth::User, mutual_rooms)
        .get(
            "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
            Auth::User,
            unstable_mutual_rooms,
        )
}

#[derive(Debug, Deserialize)]
struct MutualQuery {
    user_id: String,
    from: Option<String>,
    /// What clients from before the specification send for `from`.
    batch_token: Option<String>,
}

#[derive(Debug, Serialize)]
struct MutualAnswer {
    joined: Vec<String>,
    count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

async fn mutual_rooms(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(query): Query<MutualQuery>,
) -> Result<Json<MutualAnswer>, MatrixError> {
    page(&api, &session, &query.user_id, query.from.as_deref())
        .await
        .map(Json)
}

#[derive(Debug, Serialize)]
struct UnstableAnswer {
    #[serde(flatten)]
    answer: MutualAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch_token: Option<String>,
}

/// As clients ask that came before the specification; they know the tokens by other names.
async fn unstable_mutual_rooms(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(query): Query<MutualQuery>,
) -> Result<Json<UnstableAnswer>, MatrixError> {
    let from = query.batch_token.or(query.from);
    let answer = page(&api, &session, &query.user_id, from.as_deref()).await?;
    Ok(Json(UnstableAnswer {
        next_batch_token: answer.next_batch.clone(),
        answer,
    }))
}

async fn page(
    api: &State,
    session: &Session,
    user_id: &str,
    from: Option<&str>,
) -> Result<MutualAnswer, MatrixError> {
    let other = user_named("user_id", user_id)?;
    if other == session.user_id {
        let message = "All your rooms are your own: ask for those with another user";
        return Err(MatrixError::invalid_param(message));
    }
    let after = match from {
        Some(token) => after(token)?,
        None => 0,
    };
    let page = api.rooms.mutual_rooms(&actor(session), &other, after).await;
    let MutualRooms { rooms, count } = page.map_err(MatrixError::internal)?;
    let last = rooms.last().map(|(_, position)| *position);
    let next = last.filter(|_| rooms.len() == MUTUAL_ROOMS_PAGE);
    Ok(MutualAnswer {
        joined: rooms.into_iter().map(|(room_id, _)| room_id).collect(),
        count,
        next_batch: next.map(|position| format!("m{position}")),
    })
}

/// The position of the last room that was told.
fn after(token: &str) -> Result<i64, MatrixError> {
    let digits = token
        .strip_prefix('m')
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| MatrixError::invalid_param("`from` is not a token of this list"))
}
