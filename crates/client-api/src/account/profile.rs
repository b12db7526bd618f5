//! Profiles: <https://spec.matrix.org/v1.19/client-server-api/#profiles>

use axum::extract;
use http::StatusCode;
use ruma_common::UserId;
use serde_json::{Map, Value};
use starling_accounts::{Field, Profile, ProfileError, Session};
use starling_http::{Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Routes};

use crate::State;
use crate::session::check_own;

/// The fields that a user can set.
pub(super) const FIELDS: [&str; 2] = ["displayname", "avatar_url"];

/// The longest name of a field, in bytes.
const NAME_BYTES: usize = 255;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/profile/{userId}", Auth::None, profile)
        .get(
            "/_matrix/client/v3/profile/{userId}/{keyName}",
            Auth::None,
            field,
        )
        .put(
            "/_matrix/client/v3/profile/{userId}/{keyName}",
            Auth::Guest,
            set_field,
        )
        .limit(Limited::Profile)
        .refuse_suspended()
        .delete(
            "/_matrix/client/v3/profile/{userId}/{keyName}",
            Auth::Guest,
            delete_field,
        )
        .limit(Limited::Profile)
        .refuse_suspended()
}

async fn profile(
    extract::State(state): extract::State<State>,
    Path(user_id): Path<String>,
) -> Result<Json<Map<String, Value>>, MatrixError> {
    Ok(Json(find(&state, &user_id).await?))
}

async fn field(
    extract::State(state): extract::State<State>,
    Path((user_id, name)): Path<(String, String)>,
) -> Result<Json<Map<String, Value>>, MatrixError> {
    check_name(&name)?;
    let mut profile = find(&state, &user_id).await?;
    profile.retain(|field, _| *field == name);
    if profile.is_empty() {
        return Err(MatrixError::not_found("The profile has no such field"));
    }
    Ok(Json(profile))
}

async fn set_field(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, name)): Path<(String, String)>,
    Json(body): Json<Map<String, Value>>,
) -> Result<JsonBytes, MatrixError> {
    let field = own_field(&session, &user_id, &name)?;
    let value = body
        .get(&name)
        .ok_or_else(|| MatrixError::missing_param(format!("{name} is missing")))?;
    let value = value
        .as_str()
        .ok_or_else(|| MatrixError::bad_json(format!("{name} is not a string")))?;
    set(&state, &session, field, value).await
}

async fn delete_field(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, name)): Path<(String, String)>,
) -> Result<JsonBytes, MatrixError> {
    let field = own_field(&session, &user_id, &name)?;
    // An empty value is none.
    set(&state, &session, field, "").await
}

async fn set(
    state: &State,
    session: &Session,
    field: Field,
    value: &str,
) -> Result<JsonBytes, MatrixError> {
    match state
        .accounts
        .set_profile_field(session.user, field, value)
        .await
    {
        Ok(_) => Ok(JsonBytes::empty()),
        Err(error @ ProfileError::TooLong) => Err(MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_PROFILE_TOO_LARGE",
            error.to_string(),
        )),
        Err(error @ ProfileError::InvalidAvatarUrl) => {
            Err(MatrixError::invalid_param(error.to_string()))
        }
        Err(error @ ProfileError::Database(_)) => Err(MatrixError::internal(error)),
    }
}

/// The profile of a user of this server; nobody is asked for those of others.
async fn find(state: &State, user_id: &str) -> Result<Map<String, Value>, MatrixError> {
    let user_id =
        UserId::parse(user_id).map_err(|_| MatrixError::invalid_param("This is not a user id"))?;
    let profile = state
        .accounts
        .profile(&user_id)
        .await
        .map_err(MatrixError::internal)?;
    let Profile {
        display_name,
        avatar_url,
    } = profile.ok_or_else(|| MatrixError::not_found("There is no profile of this user"))?;
    let fields = FIELDS.into_iter().zip([display_name, avatar_url]);
    Ok(fields
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect())
}

/// The field of the caller's own profile that is to change.
fn own_field(session: &Session, user_id: &str, name: &str) -> Result<Field, MatrixError> {
    check_own(session, user_id)?;
    check_name(name)?;
    match name {
        "displayname" => Ok(Field::DisplayName),
        _ if session.is_guest => Err(MatrixError::guest_access_forbidden(
            "Guests can change their display name only",
        )),
        "avatar_url" => Ok(Field::AvatarUrl),
        _ => Err(MatrixError::forbidden(
            "Only the display name and the avatar can be changed here",
        )),
    }
}

/// Whether a field can have this name:
/// <https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar>
fn check_name(name: &str) -> Result<(), MatrixError> {
    if name.len() > NAME_BYTES {
        let message = format!("The name of a field has at most {NAME_BYTES} bytes");
        return Err(MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_KEY_TOO_LARGE",
            message,
        ));
    }
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if FIELDS.contains(&name) || (name.contains('.') && name.split('.').all(is_part)) {
        return Ok(());
    }
    Err(MatrixError::invalid_param("No field has such a name"))
}
