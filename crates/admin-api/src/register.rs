//! `/_synapse/admin/v1/register`: tools that know the shared secret make accounts, also when registration is closed.
//!
//! A tool gets a nonce, and proves with an HMAC-SHA1 over it and the account that it knows the secret.

use axum::extract;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use starling_accounts::{
    AccountKind, Field, NewAccount, NewDevice, ProfileError, RegisterError, Registered,
    SharedSecret, SharedSecretError, SharedSecretRequest,
};
use starling_http::{Auth, Json, MatrixError, Routes};

use crate::State;

const PATH: &str = "/_synapse/admin/v1/register";

/// None without a secret: then there is no such endpoint.
pub(crate) fn routes(state: &State) -> Routes<State> {
    match state.shared_secret {
        Some(_) => Routes::new()
            .get(PATH, Auth::None, nonce)
            .post(PATH, Auth::None, register),
        None => Routes::new(),
    }
}

#[derive(Serialize)]
struct Nonce {
    nonce: String,
}

async fn nonce(extract::State(state): extract::State<State>) -> Result<Json<Nonce>, MatrixError> {
    Ok(Json(Nonce {
        nonce: secret(&state)?.nonce(),
    }))
}

#[derive(Deserialize)]
struct Request {
    nonce: String,
    username: String,
    password: String,
    displayname: Option<String>,
    admin: Option<bool>,
    user_type: Option<String>,
    mac: String,
}

#[derive(Serialize)]
struct Answer {
    user_id: String,
    home_server: String,
    access_token: String,
    device_id: String,
}

async fn register(
    extract::State(state): extract::State<State>,
    Json(request): Json<Request>,
) -> Result<Json<Answer>, MatrixError> {
    let is_admin = request.admin.unwrap_or(false);
    let claim = SharedSecretRequest {
        nonce: &request.nonce,
        user: &request.username,
        password: &request.password,
        is_admin,
        user_type: request.user_type.as_deref(),
        mac: &request.mac,
    };
    secret(&state)?.check(&claim).map_err(disbelief)?;
    let new = NewAccount {
        localpart: Some(request.username),
        password: Some(request.password),
        kind: AccountKind::User,
        is_admin,
        device: Some(NewDevice::default()),
    };
    let registered = state.accounts.register(new).await.map_err(refusal)?;
    if let Some(name) = request.displayname {
        let set = state
            .accounts
            .set_profile_field(registered.user, Field::DisplayName, &name)
            .await;
        set.map_err(|error| match error {
            ProfileError::Database(_) => MatrixError::internal(error),
            _ => MatrixError::invalid_param(error.to_string()),
        })?;
    }
    answer(registered)
}

fn secret(state: &State) -> Result<&SharedSecret, MatrixError> {
    state
        .shared_secret
        .as_deref()
        .ok_or_else(MatrixError::unrecognized)
}

fn answer(registered: Registered) -> Result<Json<Answer>, MatrixError> {
    let login = registered
        .login
        .ok_or_else(|| MatrixError::internal("a session was asked for, and none began"))?;
    Ok(Json(Answer {
        home_server: registered.user_id.server_name().to_string(),
        user_id: registered.user_id.into(),
        access_token: login.access_token.as_str().to_owned(),
        device_id: login.device_id,
    }))
}

/// Why the tool isn't believed.
fn disbelief(error: SharedSecretError) -> MatrixError {
    match error {
        SharedSecretError::UnknownNonce => MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_UNKNOWN",
            "The nonce is not known, or no longer good",
        ),
        SharedSecretError::ZeroByte => MatrixError::invalid_param(error.to_string()),
        SharedSecretError::WrongMac => MatrixError::forbidden("The HMAC is wrong"),
    }
}

fn refusal(error: RegisterError) -> MatrixError {
    match error {
        RegisterError::InvalidName => MatrixError::invalid_username(error.to_string()),
        RegisterError::NameInUse => MatrixError::user_in_use(),
        RegisterError::Password(error) => MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_WEAK_PASSWORD",
            error.to_string(),
        ),
        RegisterError::Device(_) | RegisterError::Hash(_) | RegisterError::Database(_) => {
            MatrixError::internal(error)
        }
    }
}
