//! `POST /createRoom`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>

use axum::extract;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, Routes};
use starling_rooms::{CanonicalObject, CreateRoom, Invite, Preset};

use super::join::RoomIdAnswer;
use super::path::user_named;
use super::third_party::{InviteByThirdPartyId, refusal};
use super::{actor, error};
use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post("/_matrix/client/v3/createRoom", Auth::User, create)
        .limit(Limited::RoomCreation)
        .refuse_suspended()
}

/// Everything that a room begins with is one transaction, so there are bounds.
const MAX_INVITES: usize = 100;

/// How much state a room may begin with.
const MAX_INITIAL_STATE: usize = 200;

#[derive(Debug, Deserialize)]
struct CreateBody {
    #[serde(default)]
    visibility: Visibility,
    preset: Option<PresetName>,
    room_version: Option<String>,
    room_alias_name: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    invite: Vec<String>,
    #[serde(default)]
    invite_3pid: Vec<InviteByThirdPartyId>,
    #[serde(default)]
    is_direct: bool,
    #[serde(default)]
    creation_content: Map<String, Value>,
    #[serde(default)]
    initial_state: Vec<InitialState>,
    #[serde(default)]
    power_level_content_override: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    Public,
    #[default]
    Private,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum PresetName {
    #[serde(rename = "private_chat")]
    Private,
    #[serde(rename = "trusted_private_chat")]
    TrustedPrivate,
    #[serde(rename = "public_chat")]
    Public,
}

#[derive(Debug, Deserialize)]
struct InitialState {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    state_key: String,
    content: Box<RawValue>,
}

async fn create(
    extract::State(api): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Json(body): Json<CreateBody>,
) -> Result<Json<RoomIdAnswer>, MatrixError> {
    let wanted = body.check()?;
    let created = api.rooms.create(&actor(&session), wanted).await;
    let room_id = created.map_err(error::create)?;
    Ok(Json(RoomIdAnswer { room_id }))
}

impl CreateBody {
    fn check(self) -> Result<CreateRoom, MatrixError> {
        if !self.invite_3pid.is_empty() {
            return Err(refusal());
        }
        let preset = self.preset();
        Ok(CreateRoom {
            is_public: self.visibility == Visibility::Public,
            preset,
            room_version: self.room_version,
            alias_name: self.room_alias_name,
            name: self.name,
            topic: self.topic,
            invites: invites(self.invite)?,
            is_direct: self.is_direct,
            creation_content: self.creation_content,
            initial_state: initial_state(self.initial_state)?,
            power_levels: self.power_level_content_override,
        })
    }

    fn preset(&self) -> Preset {
        match (self.preset, self.visibility) {
            (Some(PresetName::Public), _) | (None, Visibility::Public) => Preset::PublicChat,
            (Some(PresetName::Private), _) | (None, Visibility::Private) => Preset::PrivateChat,
            (Some(PresetName::TrustedPrivate), _) => Preset::TrustedPrivateChat,
        }
    }
}

/// Who is invited, each once.
fn invites(users: Vec<String>) -> Result<Vec<Invite>, MatrixError> {
    if users.len() > MAX_INVITES {
        let message = format!("At most {MAX_INVITES} users can be invited at once");
        return Err(MatrixError::invalid_param(message));
    }
    let mut invites: Vec<Invite> = Vec::with_capacity(users.len());
    for user in users {
        let invite = Invite {
            user: user_named("invite", &user)?,
        };
        if !invites.contains(&invite) {
            invites.push(invite);
        }
    }
    Ok(invites)
}

fn initial_state(
    events: Vec<InitialState>,
) -> Result<Vec<(String, String, CanonicalObject)>, MatrixError> {
    if events.len() > MAX_INITIAL_STATE {
        let message = format!("A room begins with at most {MAX_INITIAL_STATE} events of your own");
        return Err(MatrixError::invalid_param(message));
    }
    let read = |InitialState {
                    kind,
                    state_key,
                    content,
                }| {
        let content = CanonicalObject::from_raw(&content).map_err(error::content)?;
        Ok((kind, state_key, content))
    };
    events.into_iter().map(read).collect()
}
