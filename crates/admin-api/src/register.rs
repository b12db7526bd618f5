//! `/_synapse/admin/v1/register`: tools that know the shared secret make accounts, also when registration is closed.
//!
//! A tool gets a nonce, and proves with an HMAC-SHA1 over it and the account that it knows the secret.

use std::time::Duration;

use std::sync::Arc;

use axum::extract::{self, FromRequestParts};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use starling_accounts::{
    AccountKind, FieldName, HashError, NewAccount, NewDevice, ProfileError, RegisterError,
    Registered, SharedSecret, SharedSecretError, SharedSecretRequest,
};
use starling_http::{Auth, Json, MatrixError, Routes};

use crate::State;

/// When to come again if too many passwords are to be hashed; by then some seconds of work are done.
const BUSY_WAIT: Duration = Duration::from_secs(3);

const PATH: &str = "/_synapse/admin/v1/register";

/// The routes.
pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .get(PATH, Auth::None, nonce)
        .post(PATH, Auth::None, register)
}

/// What tools share with the server. Without a secret in the configuration, there is no such endpoint.
struct Secret(Arc<SharedSecret>);

impl FromRequestParts<State> for Secret {
    type Rejection = MatrixError;

    async fn from_request_parts(_: &mut Parts, state: &State) -> Result<Self, MatrixError> {
        let secret = state.shared_secret.clone();
        secret.map(Self).ok_or_else(MatrixError::unrecognized)
    }
}

#[derive(Serialize)]
struct Nonce {
    nonce: String,
}

async fn nonce(Secret(secret): Secret) -> Json<Nonce> {
    Json(Nonce {
        nonce: secret.nonce(),
    })
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
    Secret(secret): Secret,
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
    secret.check(&claim).map_err(disbelief)?;
    let new = NewAccount {
        localpart: Some(request.username),
        password: Some(request.password),
        kind: AccountKind::User,
        is_admin,
        device: Some(NewDevice::default()),
        registration_token: None,
    };
    let registered = state.accounts.register(new).await.map_err(refusal)?;
    if let Some(name) = request.displayname {
        let set = state
            .accounts
            .set_profile_field(
                registered.user,
                FieldName::display_name(),
                Some(&name.into()),
            )
            .await;
        set.map_err(|error| match error {
            ProfileError::Database(_) => MatrixError::internal(error),
            _ => MatrixError::invalid_param(error.to_string()),
        })?;
    }
    answer(registered)
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
        RegisterError::Hash(HashError::Busy) => MatrixError::limit_exceeded(BUSY_WAIT),
        RegisterError::Device(_)
        | RegisterError::RegistrationToken
        | RegisterError::Hash(_)
        | RegisterError::Database(_) => MatrixError::internal(error),
    }
}
