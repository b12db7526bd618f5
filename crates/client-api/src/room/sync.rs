//! `GET /sync`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>

use std::sync::Arc;
use std::time::Duration;

use axum::extract;
use serde::Deserialize;
use starling_accounts::{Authentication, Session};
use starling_http::{Auth, Authenticated, JsonBytes, MatrixError, Query, Routes};
use starling_sync::{Filter, FilterError, StoredFilterError, SyncRequest};

use super::{error, reader, token};
use crate::State;
use crate::account::StateName;
use crate::session::client;

pub(super) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/client/v3/sync", Auth::Guest, get)
}

#[derive(Debug, Deserialize)]
struct SyncQuery {
    filter: Option<String>,
    since: Option<String>,
    #[serde(default)]
    full_state: bool,
    #[serde(default)]
    use_state_after: bool,
    /// As clients ask that don't know if the server has it.
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    unstable_state_after: bool,
    /// In milliseconds.
    #[serde(default)]
    timeout: u64,
    set_presence: Option<StateName>,
}

async fn get(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Query(query): Query<SyncQuery>,
) -> Result<JsonBytes, MatrixError> {
    let request = SyncRequest {
        filter: filter(&api, &session, query.filter).await?,
        since: query.since,
        full_state: query.full_state,
        use_state_after: query.use_state_after,
        unstable_state_after: query.unstable_state_after,
        timeout: Duration::from_millis(query.timeout),
    };
    // Who is refused has not been here.
    let since = request.since.as_deref();
    since.map(|since| token("since", since)).transpose()?;
    // Until the answer is there, the user is, too.
    let client = client(&session);
    let state = query.set_presence.map(Into::into);
    let poll = api.ephemeral.begin_poll(&client, state);
    let _poll = poll.await.map_err(MatrixError::internal)?;
    let answer = api
        .sync
        .sync(&reader(&session), &request)
        .await
        .map_err(error::sync)?;
    check_session(&api, &session).await?;
    Ok(JsonBytes(answer.into()))
}

/// The session may have ended while its request waited.
pub(super) async fn check_session(api: &State, session: &Session) -> Result<(), MatrixError> {
    let now = api.accounts.authenticate_again(session).await;
    match now.map_err(MatrixError::internal)? {
        // A token that expired while this waited was good when the client asked.
        Authentication::Granted(_) | Authentication::Expired => Ok(()),
        Authentication::Locked(_) => Err(MatrixError::user_locked()),
        Authentication::Unknown => Err(MatrixError::unknown_token(false)),
    }
}

/// A filter as it is in the query: a JSON object, or the number of one that was stored before.
async fn filter(
    api: &State,
    session: &Session,
    named: Option<String>,
) -> Result<Arc<Filter>, MatrixError> {
    let Some(text) = named else {
        return Ok(Arc::default());
    };
    if text.starts_with('{') {
        let filter = Filter::parse(&text).map_err(|error| malformed(&error))?;
        return Ok(Arc::new(filter));
    }
    let unknown = || MatrixError::invalid_param("`filter` is neither a filter nor the id of one");
    let number: i64 = text.parse().map_err(|_| unknown())?;
    match api.sync.stored_filter(session.user, number).await {
        Ok(stored) => stored.ok_or_else(unknown),
        Err(StoredFilterError::Malformed(error)) => Err(malformed(&error)),
        Err(StoredFilterError::Db(error)) => Err(MatrixError::internal(error)),
    }
}

fn malformed(error: &FilterError) -> MatrixError {
    MatrixError::invalid_param(error.to_string())
}
