//! `POST /rooms/{roomId}/invite`, `leave`, `forget`, `kick`, `ban` and `unban`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-membership>

use axum::extract;
use serde::Deserialize;
use starling_accounts::Session;
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, OptionalJson, Path, Routes,
};
use starling_rooms::MembershipAction;

use super::path::{RoomIdPart, user_named};
use super::third_party::{InviteByThirdPartyId, refusal};
use super::{actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post(
            "/_matrix/client/v3/rooms/{roomId}/invite",
            Auth::User,
            invite,
        )
        .limit(Limited::Invite)
        .refuse_suspended()
        .post(
            "/_matrix/client/v3/rooms/{roomId}/leave",
            Auth::Guest,
            leave,
        )
        .limit(Limited::Message)
        .post(
            "/_matrix/client/v3/rooms/{roomId}/forget",
            Auth::User,
            forget,
        )
        .post("/_matrix/client/v3/rooms/{roomId}/kick", Auth::User, kick)
        .limit(Limited::Message)
        .refuse_suspended()
        .post("/_matrix/client/v3/rooms/{roomId}/ban", Auth::User, ban)
        .limit(Limited::Message)
        .refuse_suspended()
        .post("/_matrix/client/v3/rooms/{roomId}/unban", Auth::User, unban)
        .limit(Limited::Message)
        .refuse_suspended()
}

#[derive(Debug, Deserialize)]
struct TargetBody {
    user_id: String,
    reason: Option<String>,
}

/// An invite names a user, or a third-party id and who can look it up.
#[derive(Debug, Deserialize)]
struct InviteBody {
    user_id: Option<String>,
    reason: Option<String>,
    #[serde(flatten)]
    third_party: Option<InviteByThirdPartyId>,
}

#[derive(Debug, Deserialize)]
struct LeaveBody {
    reason: Option<String>,
}

async fn invite(
    state: extract::State<State>,
    session: Authenticated<Session>,
    path: Path<RoomIdPart>,
    Json(body): Json<InviteBody>,
) -> Result<JsonBytes, MatrixError> {
    let Some(user_id) = body.user_id else {
        let missing = || MatrixError::bad_json("`user_id` is missing");
        return Err(body.third_party.map_or_else(missing, |_| refusal()));
    };
    let body = TargetBody {
        user_id,
        reason: body.reason,
    };
    change(state, session, path, body, MembershipAction::Invite).await
}

async fn kick(
    state: extract::State<State>,
    session: Authenticated<Session>,
    path: Path<RoomIdPart>,
    Json(body): Json<TargetBody>,
) -> Result<JsonBytes, MatrixError> {
    change(state, session, path, body, MembershipAction::Kick).await
}

async fn ban(
    state: extract::State<State>,
    session: Authenticated<Session>,
    path: Path<RoomIdPart>,
    Json(body): Json<TargetBody>,
) -> Result<JsonBytes, MatrixError> {
    change(state, session, path, body, MembershipAction::Ban).await
}

async fn unban(
    state: extract::State<State>,
    session: Authenticated<Session>,
    path: Path<RoomIdPart>,
    Json(body): Json<TargetBody>,
) -> Result<JsonBytes, MatrixError> {
    change(state, session, path, body, MembershipAction::Unban).await
}

async fn change(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    TargetBody { user_id, reason }: TargetBody,
    action: MembershipAction,
) -> Result<JsonBytes, MatrixError> {
    let target = user_named("user_id", &user_id)?;
    let actor = actor(&session);
    let change = api
        .rooms
        .change_membership(&actor, &room_id, action, &target, reason);
    change.await.map_err(error::send)?;
    Ok(JsonBytes::empty())
}

async fn leave(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    OptionalJson(LeaveBody { reason }): OptionalJson<LeaveBody>,
) -> Result<JsonBytes, MatrixError> {
    let (actor, action) = (actor(&session), MembershipAction::Leave);
    let change = api
        .rooms
        .change_membership(&actor, &room_id, action, &actor.user_id, reason);
    change.await.map_err(error::enter_or_leave)?;
    Ok(JsonBytes::empty())
}

async fn forget(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
) -> Result<JsonBytes, MatrixError> {
    let forgotten = api.rooms.forget(&actor(&session), &room_id).await;
    forgotten.map_err(error::forget)?;
    Ok(JsonBytes::empty())
}
