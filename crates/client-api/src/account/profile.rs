//! Profiles: <https://spec.matrix.org/v1.19/client-server-api/#profiles>

use axum::extract;
use http::StatusCode;
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use starling_accounts::{FieldName, ProfileError, Session};
use starling_http::{Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Routes};

use crate::session::check_own;
use crate::{State, remote};

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
) -> Result<JsonBytes, MatrixError> {
    let user_id = parse_user(&user_id)?;
    if user_id.server_name() != state.accounts.server_name() {
        return elsewhere(&state, &user_id, None).await;
    }
    let profile = state.accounts.profile(&user_id).await;
    let profile = profile.map_err(MatrixError::internal)?;
    let profile =
        profile.ok_or_else(|| MatrixError::not_found("There is no profile of this user"))?;
    let members = profile
        .iter()
        .map(|field| (field.name.as_str(), field.value.as_str()));
    Ok(object(members))
}

async fn field(
    extract::State(state): extract::State<State>,
    Path((user_id, name)): Path<(String, String)>,
) -> Result<JsonBytes, MatrixError> {
    let user_id = parse_user(&user_id)?;
    let missing = || MatrixError::not_found("The profile has no such field");
    // Nor has anybody's one whose name no field may have.
    let name = FieldName::parse(&name).map_err(|_| missing())?;
    if user_id.server_name() != state.accounts.server_name() {
        return elsewhere(&state, &user_id, Some(&name)).await;
    }
    let value = state.accounts.profile_field(&user_id, &name).await;
    let value = value.map_err(MatrixError::internal)?;
    let value = value.ok_or_else(missing)?;
    Ok(object([(name.as_str(), value.as_str())]))
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
    set(&state, &session, field, Some(value)).await
}

async fn delete_field(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((user_id, name)): Path<(String, String)>,
) -> Result<JsonBytes, MatrixError> {
    let field = own_field(&session, &user_id, &name)?;
    set(&state, &session, field, None).await
}

async fn set(
    state: &State,
    session: &Session,
    field: FieldName,
    value: Option<&Value>,
) -> Result<JsonBytes, MatrixError> {
    let set = state.accounts.set_profile_field(session.user, field, value);
    match set.await {
        Ok(_) => Ok(JsonBytes::empty()),
        Err(error) => Err(refusal(error)),
    }
}

/// The profile of a user of another server, or one field of it, as that server says.
async fn elsewhere(
    state: &State,
    user_id: &UserId,
    field: Option<&FieldName>,
) -> Result<JsonBytes, MatrixError> {
    let unknown = || MatrixError::not_found("There is no such profile or field");
    let alone = "The user is of another server, and this one does not ask other servers";
    let servers = state.rooms.other_servers();
    let servers = servers.ok_or_else(|| MatrixError::not_found(alone))?;
    let profile = servers.profile(user_id, field.map(FieldName::as_str)).await;
    let mut profile = profile.map_err(|error| remote::refusal(&error))?;
    // Null stands for what there isn't, and a server that was asked for one field may give all.
    profile
        .retain(|name, value| !value.is_null() && field.is_none_or(|field| field.as_str() == name));
    if profile.is_empty() && field.is_some() {
        return Err(unknown());
    }
    let profile = Value::Object(profile).to_string();
    Ok(JsonBytes(profile.into()))
}

fn parse_user(user_id: &str) -> Result<OwnedUserId, MatrixError> {
    UserId::parse(user_id)
        .map_err(|_| MatrixError::invalid_param("`userId` in the path is not a user id"))
}

/// The field of the caller's own profile that is to change.
fn own_field(session: &Session, user_id: &str, name: &str) -> Result<FieldName, MatrixError> {
    check_own(session, user_id)?;
    let field = FieldName::parse(name).map_err(refusal)?;
    // <https://spec.matrix.org/v1.19/client-server-api/#guest-access>
    if session.is_guest && field != FieldName::display_name() {
        return Err(MatrixError::guest_access_forbidden(
            "Guests can change their display name only",
        ));
    }
    Ok(field)
}

fn refusal(error: ProfileError) -> MatrixError {
    let message = error.to_string();
    let bad_request = |errcode| MatrixError::new(StatusCode::BAD_REQUEST, errcode, &message);
    match error {
        ProfileError::NameTooLong => bad_request("M_KEY_TOO_LARGE"),
        ProfileError::TooLong | ProfileError::ProfileTooLarge => bad_request("M_PROFILE_TOO_LARGE"),
        ProfileError::NotAString => MatrixError::bad_json(message),
        ProfileError::InvalidName | ProfileError::InvalidAvatarUrl => {
            MatrixError::invalid_param(message)
        }
        ProfileError::Database(_) => MatrixError::internal(error),
    }
}

/// `{"name":value,…}`, from values that are JSON; no field's name has a character that JSON escapes.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> JsonBytes {
    let members: Vec<String> = members
        .into_iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    JsonBytes(format!("{{{}}}", members.join(",")).into())
}
