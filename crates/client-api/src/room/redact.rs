//! `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid>

use axum::extract;
use ruma_common::{EventId, RoomId};
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, Limited, MatrixError, Path, RawBody, Routes, Sessions,
};
use starling_rooms::RequestPath;

use super::path::{EventIdPart, RoomIdPart, TxnIdPart};
use super::send::{EventIdAnswer, content};
use super::{EVENT_BODY_BYTES, actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .put(
            "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
            Auth::User,
            redact,
        )
        .body_limit(EVENT_BODY_BYTES)
        .limit(Limited::Message)
}

async fn redact(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), EventIdPart(target), TxnIdPart(txn_id))): Path<(
        RoomIdPart,
        EventIdPart,
        TxnIdPart,
    )>,
    RawBody(body): RawBody,
) -> Result<Json<EventIdAnswer>, MatrixError> {
    let content = content(&body)?;
    let reason = content.value().get("reason");
    if reason.is_some_and(|reason| reason.as_str().is_none()) {
        return Err(MatrixError::bad_json("`reason` must be a string"));
    }
    check_redacts_own(&api, &session, &room_id, &target).await?;
    let transaction = Some((RequestPath::redact(&room_id, &target), &*txn_id));
    let actor = actor(&session);
    let redacted = api
        .rooms
        .redact(&actor, &room_id, &target, content, transaction)
        .await;
    let event_id = redacted.map_err(error::send)?;
    Ok(Json(EventIdAnswer { event_id }))
}

/// Lets suspended users redact nothing but their own events:
/// <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>
pub(super) async fn check_redacts_own(
    api: &State,
    session: &Session,
    room_id: &RoomId,
    target: &EventId,
) -> Result<(), MatrixError> {
    if !State::is_suspended(session) {
        return Ok(());
    }
    let event = api.rooms.event(&actor(session), room_id, target).await;
    if event.map_err(error::read)?.sender == session.user {
        Ok(())
    } else {
        Err(MatrixError::user_suspended())
    }
}
