//! Filters: <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use axum::extract;
use serde::Serialize;
use serde::de::IgnoredAny;
use starling_accounts::{FilterError, Session};
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, MatrixError, Path, RawBody, Routes, parse_json,
};
use starling_sync::filter::{self, Filter};

use crate::State;
use crate::session::check_own;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post("/_matrix/client/v3/user/{userId}/filter", Auth::User, store)
        .get(
            "/_matrix/client/v3/user/{userId}/filter/{filterId}",
            Auth::User,
            read,
        )
}

#[derive(Serialize)]
struct Stored {
    filter_id: String,
}

async fn store(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(user_id): Path<String>,
    RawBody(body): RawBody,
) -> Result<Json<Stored>, MatrixError> {
    check_own(&session, &user_id)?;
    parse_json::<IgnoredAny>(&body)?;
    let text =
        std::str::from_utf8(&body).map_err(|_| MatrixError::not_json("The filter is not UTF-8"))?;
    Filter::parse(text).map_err(|error| parse_refusal(&error))?;
    let number = state
        .accounts
        .store_filter(session.user, text.to_owned())
        .await
        .map_err(store_refusal)?;
    Ok(Json(Stored {
        filter_id: number.to_string(),
    }))
}

async fn read(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, filter_id)): Path<(String, String)>,
) -> Result<JsonBytes, MatrixError> {
    check_own(&session, &user_id)?;
    let unknown = || MatrixError::not_found("There is no such filter");
    let number = filter_id.parse().map_err(|_| unknown())?;
    let definition = state
        .accounts
        .filter(session.user, number)
        .await
        .map_err(MatrixError::internal)?;
    Ok(JsonBytes(definition.ok_or_else(unknown)?.into()))
}

/// Why a text is no filter.
fn parse_refusal(error: &filter::FilterError) -> MatrixError {
    match error {
        filter::FilterError::TooLarge => MatrixError::too_large(error.to_string()),
        filter::FilterError::NotAnObject | filter::FilterError::Field { .. } => {
            MatrixError::bad_json(error.to_string())
        }
    }
}

fn store_refusal(error: FilterError) -> MatrixError {
    match error {
        FilterError::TooLarge => MatrixError::too_large(error.to_string()),
        FilterError::NotAnObject => MatrixError::bad_json(error.to_string()),
        FilterError::TooMany => MatrixError::forbidden(error.to_string()),
        FilterError::Database(_) => MatrixError::internal(error),
    }
}
