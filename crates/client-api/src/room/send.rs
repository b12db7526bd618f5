//! `PUT /rooms/{roomId}/send/{eventType}/{txnId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>

use axum::extract;
use serde::Serialize;
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, Limited, MatrixError, Path, RawBody, Routes, Sessions,
};
use starling_rooms::{CanonicalObject, Draft, RequestPath};

use super::path::{RoomIdPart, TxnIdPart, event_named};
use super::redact::check_redacts_own;
use super::{EVENT_BODY_BYTES, actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .put(
            "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
            Auth::Guest,
            send,
        )
        .body_limit(EVENT_BODY_BYTES)
        .limit(Limited::Message)
}

/// The answer of everything that sends one event.
#[derive(Debug, Serialize)]
pub(super) struct EventIdAnswer {
    pub(super) event_id: ruma_common::OwnedEventId,
}

async fn send(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((RoomIdPart(room_id), kind, TxnIdPart(txn_id))): Path<(RoomIdPart, String, TxnIdPart)>,
    RawBody(body): RawBody,
) -> Result<Json<EventIdAnswer>, MatrixError> {
    let content = content(&body)?;
    let actor = actor(&session);
    let transaction = Some((RequestPath::send(&room_id, &kind), &*txn_id));
    let sent = if kind == "m.room.redaction" {
        let target = event_named("redacts", &redacts(&content)?)?;
        check_redacts_own(&api, &session, &room_id, &target).await?;
        let redact = api
            .rooms
            .redact(&actor, &room_id, &target, content, transaction);
        redact.await
    } else if State::is_suspended(&session) {
        return Err(MatrixError::user_suspended());
    } else {
        let draft = Draft::message(actor.user_id.clone(), kind, content);
        api.rooms.send(&actor, &room_id, draft, transaction).await
    };
    let event_id = sent.map_err(error::send)?;
    api.ephemeral.note_activity(session.user);
    Ok(Json(EventIdAnswer { event_id }))
}

/// The content of an event, in canonical form, from the body of a request.
pub(super) fn content(body: &[u8]) -> Result<CanonicalObject, MatrixError> {
    CanonicalObject::parse(body).map_err(error::content)
}

/// The event that a redaction's content names.
fn redacts(content: &CanonicalObject) -> Result<String, MatrixError> {
    let named = content.value().get("redacts");
    let named = named.ok_or_else(|| MatrixError::missing_param("`redacts` is missing"))?;
    let text = named.as_str().map(std::borrow::Cow::into_owned);
    text.ok_or_else(|| MatrixError::bad_json("`redacts` must be a string"))
}
