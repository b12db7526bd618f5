//! Making an account: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>

use axum::extract;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use starling_accounts::{
    AccountKind, DeviceError, GuestUpgrade, HashError, NewAccount, NewDevice, PasswordError,
    RegisterError, Registered, Session, Stage, Token,
};
use starling_config::RegistrationMode;
use starling_http::{Auth, Json, Limited, MatrixError, Query, RawBody, Routes, parse_json};

use super::guests::{guest_of, register_guest};
use crate::State;
use crate::interactive_auth::{
    AuthData, Flow, Guarded, Proof, Refusal, authorize, is_token_good, token_used_up,
};
use crate::session::busy;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .post("/_matrix/client/v3/register", Auth::None, register)
        .limit(Limited::Registration)
        .get(
            "/_matrix/client/v3/register/available",
            Auth::None,
            available,
        )
        .limit(Limited::RegistrationAvailability)
        .get(
            "/_matrix/client/v1/register/m.login.registration_token/validity",
            Auth::None,
            token_validity,
        )
        .limit(Limited::RegistrationAvailability)
}

#[derive(Deserialize)]
struct RegisterQuery {
    #[serde(default)]
    kind: Kind,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    User,
    Guest,
}

#[derive(Deserialize)]
struct Request {
    auth: Option<AuthData>,
    username: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    inhibit_login: Option<bool>,
    /// Whether the client renews its access token.
    #[serde(default)]
    refresh_token: bool,
    /// Of the guest who is to become a user.
    guest_access_token: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    user_id: String,
    home_server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<i64>,
}

async fn register(
    extract::State(state): extract::State<State>,
    Query(query): Query<RegisterQuery>,
    RawBody(body): RawBody,
) -> Result<Json<Answer>, Refusal> {
    // Some clients ask for the flows with an empty one.
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    if query.kind == Kind::Guest {
        let registered = register_guest(&state, parse_json(body)?).await?;
        return Ok(Json(answer(registered)));
    }
    let mut request: Request = parse_json(body)?;
    let guarded = Guarded {
        what: "POST /register",
        session: None,
        flows: flows(state.config.registration.mode)?,
    };
    let username = request.username.as_deref();
    let guest = match (&request.guest_access_token, username) {
        (Some(token), _) => Some(guest_of(&state, token, username).await?),
        (None, Some(username)) => {
            let available = state.accounts.check_available(username).await;
            available.map_err(refusal)?;
            None
        }
        (None, None) => None,
    };
    let proof = authorize(&state, guarded, request.auth.take()).await?;
    match make(&state, guest, request, proof).await? {
        Ok(registered) => Ok(Json(answer(registered))),
        Err(RegisterError::RegistrationToken) => Err(token_used_up(&state, guarded)),
        Err(error) => Err(refusal(error).into()),
    }
}

/// Makes the account, or makes that of the guest a user's.
async fn make(
    state: &State,
    guest: Option<Session>,
    request: Request,
    proof: Proof,
) -> Result<Result<Registered, RegisterError>, MatrixError> {
    let password = request.password;
    let password = password.ok_or_else(|| MatrixError::missing_param("A password is needed"))?;
    let device = NewDevice {
        id: request.device_id,
        display_name: request.initial_device_display_name,
        refreshes: request.refresh_token,
    };
    let device = (!request.inhibit_login.unwrap_or(false)).then_some(device);
    Ok(if let Some(guest) = guest {
        let upgrade = GuestUpgrade {
            password,
            device,
            registration_token: proof.token,
        };
        state.accounts.upgrade_guest(&guest, upgrade).await
    } else {
        let new = NewAccount {
            localpart: request.username,
            password: Some(password),
            kind: AccountKind::User,
            is_admin: false,
            device,
            registration_token: proof.token,
        };
        state.accounts.register(new).await
    })
}

/// Who may register at all, and how.
fn flows(mode: RegistrationMode) -> Result<&'static [Flow], MatrixError> {
    match mode {
        RegistrationMode::Open => Ok(&[&[Stage::Dummy]]),
        RegistrationMode::Token => Ok(&[&[Stage::RegistrationToken]]),
        RegistrationMode::Closed => Err(MatrixError::forbidden("Registration is disabled")),
    }
}

fn answer(registered: Registered) -> Answer {
    let home_server = registered.user_id.server_name().to_string();
    let mut answer = Answer {
        user_id: registered.user_id.into(),
        home_server,
        access_token: None,
        device_id: None,
        refresh_token: None,
        expires_in_ms: None,
    };
    if let Some(login) = registered.login {
        let text = |token: &Token| token.as_str().to_owned();
        answer.access_token = Some(text(&login.access_token));
        answer.device_id = Some(login.device_id);
        answer.refresh_token = login.refresh_token.as_ref().map(text);
        answer.expires_in_ms = login.expires_in_ms;
    }
    answer
}

/// Why there is no account, in the words of the API.
pub(super) fn refusal(error: RegisterError) -> MatrixError {
    match error {
        RegisterError::InvalidName => MatrixError::invalid_username(
            "User names consist of a-z, 0-9 and ._=-/+, and are not too long",
        ),
        RegisterError::NameInUse => MatrixError::user_in_use(),
        RegisterError::Password(error) => password_refusal(error),
        RegisterError::Device(error) => device_refusal(error),
        RegisterError::Hash(HashError::Busy) => busy(),
        // Who asks with one is asked for another instead.
        RegisterError::RegistrationToken => MatrixError::forbidden(error.to_string()),
        RegisterError::Hash(_) | RegisterError::Database(_) => MatrixError::internal(error),
    }
}

/// Why no account can have this password.
pub(super) fn password_refusal(error: PasswordError) -> MatrixError {
    MatrixError::new(
        StatusCode::BAD_REQUEST,
        "M_WEAK_PASSWORD",
        error.to_string(),
    )
}

/// Why there can be no such device.
pub(super) fn device_refusal(error: DeviceError) -> MatrixError {
    MatrixError::invalid_param(error.to_string())
}

#[derive(Deserialize)]
struct AvailableQuery {
    username: String,
}

#[derive(Serialize)]
struct Available {
    available: bool,
}

async fn available(
    extract::State(state): extract::State<State>,
    Query(query): Query<AvailableQuery>,
) -> Result<Json<Available>, MatrixError> {
    flows(state.config.registration.mode)?;
    state
        .accounts
        .check_available(&query.username)
        .await
        .map_err(refusal)?;
    Ok(Json(Available { available: true }))
}

#[derive(Deserialize)]
struct ValidityQuery {
    token: String,
}

#[derive(Serialize)]
struct Validity {
    valid: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity>
async fn token_validity(
    extract::State(state): extract::State<State>,
    Query(query): Query<ValidityQuery>,
) -> Result<Json<Validity>, MatrixError> {
    flows(state.config.registration.mode)?;
    let valid = is_token_good(&state, query.token).await?;
    Ok(Json(Validity { valid }))
}
