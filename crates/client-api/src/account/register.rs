//! Making an account: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>

use axum::extract;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use starling_accounts::{
    AccountKind, DeviceError, NewAccount, NewDevice, RegisterError, Registered, Token,
};
use starling_config::RegistrationMode;
use starling_http::{Auth, Json, Limited, MatrixError, Query, Routes};

use crate::State;

/// The one stage of interactive authentication that there is for this endpoint.
const DUMMY: &str = "m.login.dummy";

/// The length of a session's id.
const SESSION_LETTERS: usize = 24;

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
}

/// The session isn't looked at: the dummy stage needs none, and nothing is kept between two requests.
#[derive(Deserialize)]
struct AuthData {
    #[serde(rename = "type")]
    stage: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-api-in-the-rest-api>
#[derive(Serialize)]
struct Challenge {
    flows: [Flow; 1],
    params: Map<String, Value>,
    session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    errcode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct Flow {
    stages: [&'static str; 1],
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
    Json(request): Json<Request>,
) -> Result<Response, MatrixError> {
    if query.kind == Kind::Guest {
        return Err(MatrixError::guest_access_forbidden(
            "This server takes no guests",
        ));
    }
    check_mode(state.config.registration.mode)?;
    if let Some(username) = &request.username {
        state
            .accounts
            .check_available(username)
            .await
            .map_err(refusal)?;
    }
    let tried = request.auth.and_then(|auth| auth.stage);
    if tried.as_deref() != Some(DUMMY) {
        return Ok(challenge(&state, tried.is_some()));
    }
    let password = request
        .password
        .ok_or_else(|| MatrixError::missing_param("A password is needed"))?;
    let device = NewDevice {
        id: request.device_id,
        display_name: request.initial_device_display_name,
        refreshes: request.refresh_token,
    };
    let new = NewAccount {
        localpart: request.username,
        password: Some(password),
        kind: AccountKind::User,
        is_admin: false,
        device: (!request.inhibit_login.unwrap_or(false)).then_some(device),
    };
    let registered = state.accounts.register(new).await.map_err(refusal)?;
    Ok(Json(answer(registered)).into_response())
}

/// Who may register at all.
fn check_mode(mode: RegistrationMode) -> Result<(), MatrixError> {
    match mode {
        RegistrationMode::Open => Ok(()),
        RegistrationMode::Closed => Err(MatrixError::forbidden("Registration is disabled")),
    }
}

/// Asks for the one stage. The wrong one was tried, or none yet.
fn challenge(state: &State, was_tried: bool) -> Response {
    let mut challenge = Challenge {
        flows: [Flow { stages: [DUMMY] }],
        params: Map::new(),
        session: state.chance.token(SESSION_LETTERS),
        errcode: None,
        error: None,
    };
    if was_tried {
        challenge.errcode = Some("M_UNRECOGNIZED");
        challenge.error = Some("There is no such stage in this flow");
    }
    (StatusCode::UNAUTHORIZED, Json(challenge)).into_response()
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
fn refusal(error: RegisterError) -> MatrixError {
    match error {
        RegisterError::InvalidName => MatrixError::invalid_username(
            "User names consist of a-z, 0-9 and ._=-/+, and are not too long",
        ),
        RegisterError::NameInUse => MatrixError::user_in_use(),
        RegisterError::Password(error) => MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_WEAK_PASSWORD",
            error.to_string(),
        ),
        RegisterError::Device(error) => device_refusal(error),
        RegisterError::Hash(_) | RegisterError::Database(_) => MatrixError::internal(error),
    }
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
    check_mode(state.config.registration.mode)?;
    state
        .accounts
        .check_available(&query.username)
        .await
        .map_err(refusal)?;
    Ok(Json(Available { available: true }))
}
