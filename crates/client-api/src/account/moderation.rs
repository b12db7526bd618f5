//! What administrators do about accounts: <https://spec.matrix.org/v1.19/client-server-api/#server-administration>

use axum::extract;
use ruma_common::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use starling_accounts::{Device, ModerationError, Restriction, Session};
use starling_http::{Auth, Authenticated, Json, Limited, MatrixError, Path, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(
            "/_matrix/client/v1/admin/lock/{userId}",
            Auth::Admin,
            locked,
        )
        .put("/_matrix/client/v1/admin/lock/{userId}", Auth::Admin, lock)
        .limit(Limited::AccountChange)
        .get(
            "/_matrix/client/v1/admin/suspend/{userId}",
            Auth::Admin,
            suspended,
        )
        .put(
            "/_matrix/client/v1/admin/suspend/{userId}",
            Auth::Admin,
            suspend,
        )
        .limit(Limited::AccountChange)
        .get("/_matrix/client/v3/admin/whois/{userId}", Auth::User, whois)
}

#[derive(Serialize, Deserialize)]
struct Locked {
    locked: bool,
}

#[derive(Serialize, Deserialize)]
struct Suspended {
    suspended: bool,
}

async fn locked(
    extract::State(state): extract::State<State>,
    Authenticated(admin): Authenticated<Session>,
    Path(user_id): Path<String>,
) -> Result<Json<Locked>, MatrixError> {
    let locked = holds(&state, &admin, &user_id, Restriction::Lock).await?;
    Ok(Json(Locked { locked }))
}

async fn lock(
    extract::State(state): extract::State<State>,
    Authenticated(admin): Authenticated<Session>,
    Path(user_id): Path<String>,
    Json(request): Json<Locked>,
) -> Result<Json<Locked>, MatrixError> {
    let wanted = (Restriction::Lock, request.locked);
    restrict(&state, &admin, &user_id, wanted).await?;
    Ok(Json(request))
}

async fn suspended(
    extract::State(state): extract::State<State>,
    Authenticated(admin): Authenticated<Session>,
    Path(user_id): Path<String>,
) -> Result<Json<Suspended>, MatrixError> {
    let suspended = holds(&state, &admin, &user_id, Restriction::Suspension).await?;
    Ok(Json(Suspended { suspended }))
}

async fn suspend(
    extract::State(state): extract::State<State>,
    Authenticated(admin): Authenticated<Session>,
    Path(user_id): Path<String>,
    Json(request): Json<Suspended>,
) -> Result<Json<Suspended>, MatrixError> {
    let wanted = (Restriction::Suspension, request.suspended);
    restrict(&state, &admin, &user_id, wanted).await?;
    Ok(Json(request))
}

async fn holds(
    state: &State,
    admin: &Session,
    user_id: &str,
    restriction: Restriction,
) -> Result<bool, MatrixError> {
    let user_id = local(state, user_id)?;
    let account = state.accounts.moderated(admin, &user_id).await;
    Ok(restriction.holds(&account.map_err(refusal)?))
}

async fn restrict(
    state: &State,
    admin: &Session,
    user_id: &str,
    wanted: (Restriction, bool),
) -> Result<(), MatrixError> {
    let user_id = local(state, user_id)?;
    let done = state.accounts.restrict(admin, &user_id, wanted).await;
    done.map_err(refusal)
}

fn local(state: &State, user_id: &str) -> Result<OwnedUserId, MatrixError> {
    let parsed = UserId::parse(user_id).ok();
    let local = parsed.filter(|id| id.server_name() == state.accounts.server_name());
    local.ok_or_else(|| MatrixError::invalid_param("This is no user of this server"))
}

fn refusal(error: ModerationError) -> MatrixError {
    match error {
        ModerationError::Unknown => MatrixError::not_found("There is no such user"),
        ModerationError::Own => MatrixError::forbidden("You cannot do this to yourself"),
        ModerationError::Admin => MatrixError::forbidden("The user is an administrator"),
        ModerationError::Database(_) => MatrixError::internal(error),
    }
}

/// Users may look at themselves, administrators at everybody.
async fn whois(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path(user_id): Path<String>,
) -> Result<Json<Value>, MatrixError> {
    if !session.is_admin && session.user_id != user_id {
        return Err(MatrixError::forbidden("You are not a server admin"));
    }
    let user_id = local(&state, &user_id)?;
    let account = state.accounts.find(user_id.as_str()).await;
    let account = account.map_err(MatrixError::internal)?;
    let account = account.ok_or_else(|| MatrixError::not_found("There is no such user"))?;
    let devices = state.accounts.devices(account.user).await;
    let devices = devices.map_err(MatrixError::internal)?;
    let devices: Map<String, Value> = devices.into_iter().map(seen).collect();
    Ok(Json(
        json!({ "user_id": account.user_id, "devices": devices }),
    ))
}

/// A device, and where it was last seen: its one session's one connection.
fn seen(device: Device) -> (String, Value) {
    let connections: Vec<Value> = device
        .last_seen_at
        .map(|at| json!({ "ip": device.last_seen_ip, "last_seen": at }))
        .into_iter()
        .collect();
    let sessions = json!({ "sessions": [{ "connections": connections }] });
    (device.device_id, sessions)
}
