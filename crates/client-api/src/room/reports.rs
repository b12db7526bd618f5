//! `POST /rooms/{roomId}/report`, `POST /rooms/{roomId}/report/{eventId}` and `POST /users/{userId}/report`
//! <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>

use axum::extract;
use serde::Deserialize;
use serde::de::IgnoredAny;
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Routes};
use starling_rooms::ReadError;

use super::actor;
use super::path::{EventIdPart, RoomIdPart, user_named};
use crate::State;

/// The longest reason, in bytes: each is kept until an administrator has read it.
const REASON_BYTES: usize = 4096;

/// The largest body, in bytes: JSON may write each byte of a reason as six.
const BODY_BYTES: usize = 32 << 10;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/rooms/{roomId}/report",
            Auth::User,
            report_room,
        )
        .limit(Limited::Message)
        .body_limit(BODY_BYTES)
        .post(
            "/_matrix/client/v3/rooms/{roomId}/report/{eventId}",
            Auth::User,
            report_event,
        )
        .limit(Limited::Message)
        .body_limit(BODY_BYTES)
        .post(
            "/_matrix/client/v3/users/{userId}/report",
            Auth::User,
            report_user,
        )
        .limit(Limited::Message)
        .body_limit(BODY_BYTES)
}

#[derive(Debug, Deserialize)]
struct ReportBody {
    reason: String,
}

async fn report_room(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Json(ReportBody { reason }): Json<ReportBody>,
) -> Result<JsonBytes, MatrixError> {
    let reason = check(reason)?;
    let reported = api
        .rooms
        .report_room(&actor(&session), &room_id, reason)
        .await;
    reported.map_err(|error| failed(error, "There is no such room"))?;
    Ok(JsonBytes::empty())
}

#[derive(Debug, Deserialize)]
struct EventReportBody {
    reason: Option<String>,
    /// How bad it is, which older clients say and nobody uses.
    #[serde(rename = "score")]
    _score: Option<IgnoredAny>,
}

async fn report_event(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), EventIdPart(event_id))): Path<(RoomIdPart, EventIdPart)>,
    Json(body): Json<EventReportBody>,
) -> Result<JsonBytes, MatrixError> {
    let reason = check(body.reason.unwrap_or_default())?;
    let reported = api
        .rooms
        .report_event(&actor(&session), &room_id, &event_id, reason)
        .await;
    let message = "There is no such event, or you are not in its room";
    reported.map_err(|error| failed(error, message))?;
    Ok(JsonBytes::empty())
}

async fn report_user(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(user_id): Path<String>,
    Json(ReportBody { reason }): Json<ReportBody>,
) -> Result<JsonBytes, MatrixError> {
    let (user_id, reason) = (user_named("userId", &user_id)?, check(reason)?);
    let reported = api
        .accounts
        .report_user(session.user, &user_id, reason)
        .await;
    if reported.map_err(MatrixError::internal)? {
        Ok(JsonBytes::empty())
    } else {
        Err(MatrixError::not_found("There is no such user"))
    }
}

fn check(reason: String) -> Result<String, MatrixError> {
    if reason.len() > REASON_BYTES {
        let message = format!("A reason has at most {REASON_BYTES} bytes");
        return Err(MatrixError::too_large(message));
    }
    Ok(reason)
}

fn failed(error: ReadError, not_found: &str) -> MatrixError {
    match error {
        ReadError::Db(error) => MatrixError::internal(error),
        _ => MatrixError::not_found(not_found),
    }
}
