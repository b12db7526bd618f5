//! `GET /rooms/{roomId}/members` and `GET /rooms/{roomId}/joined_members`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>

use std::collections::BTreeMap;

use axum::extract;
use ruma_common::OwnedUserId;
use serde::{Deserialize, Serialize};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, JsonBytes, MatrixError, Path, Query, Routes};
use starling_rooms::{MemberFilter, MemberProfile, Membership};

use super::client_events::write_events;
use super::path::RoomIdPart;
use super::{actor, error, token};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/client/v3/rooms/{roomId}/members",
            Auth::Guest,
            members,
        )
        .get(
            "/_matrix/client/v3/rooms/{roomId}/joined_members",
            Auth::User,
            joined_members,
        )
}

#[derive(Debug, Deserialize)]
struct MembersQuery {
    at: Option<String>,
    membership: Option<MembershipName>,
    not_membership: Option<MembershipName>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MembershipName {
    Join,
    Invite,
    Knock,
    Leave,
    Ban,
}

impl From<MembershipName> for Membership {
    fn from(name: MembershipName) -> Self {
        match name {
            MembershipName::Join => Self::Join,
            MembershipName::Invite => Self::Invite,
            MembershipName::Knock => Self::Knock,
            MembershipName::Leave => Self::Leave,
            MembershipName::Ban => Self::Ban,
        }
    }
}

async fn members(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
    Query(query): Query<MembersQuery>,
) -> Result<JsonBytes, MatrixError> {
    let filter = MemberFilter {
        at: query.at.as_deref().map(|at| token("at", at)).transpose()?,
        membership: query.membership.map(Membership::from),
        not_membership: query.not_membership.map(Membership::from),
    };
    let members = api.rooms.members(&actor(&session), &room_id, filter).await;
    let chunk = write_events(&api, &session, members.map_err(error::read)?).await?;
    let answer = [b"{\"chunk\":", &*chunk, b"}"].concat();
    Ok(JsonBytes(answer.into()))
}

#[derive(Debug, Serialize)]
struct JoinedMembers {
    joined: BTreeMap<OwnedUserId, Profile>,
}

#[derive(Debug, Serialize)]
struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

async fn joined_members(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(RoomIdPart(room_id)): Path<RoomIdPart>,
) -> Result<Json<JoinedMembers>, MatrixError> {
    let members = api.rooms.joined_members(&actor(&session), &room_id).await;
    let entry = |member: MemberProfile| {
        let MemberProfile {
            user_id,
            display_name,
            avatar_url,
        } = member;
        (
            user_id,
            Profile {
                display_name,
                avatar_url,
            },
        )
    };
    let joined = members
        .map_err(error::read)?
        .into_iter()
        .map(entry)
        .collect();
    Ok(Json(JoinedMembers { joined }))
}
