//! Beginning a session: <https://spec.matrix.org/v1.19/client-server-api/#login>

use axum::extract;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use starling_accounts::{LoggedIn, LoginError, NewDevice, PasswordLogin};
use starling_http::{Auth, Caller, Json, JsonBytes, Limited, MatrixError, Routes};

use super::register::device_refusal;
use super::well_known;
use crate::State;

const PASSWORD: &str = "m.login.password";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/login", Auth::None, flows)
        .post("/_matrix/client/v3/login", Auth::None, login)
        .limit(Limited::Login)
}

async fn flows() -> JsonBytes {
    JsonBytes(Bytes::from_static(
        br#"{"flows":[{"type":"m.login.password"}]}"#,
    ))
}

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "type")]
    kind: String,
    identifier: Option<Identifier>,
    /// Deprecated, and still sent.
    user: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    /// Whether the client renews its access token.
    #[serde(default)]
    refresh_token: bool,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    user_id: String,
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<i64>,
    device_id: String,
    home_server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    well_known: Option<well_known::Client>,
}

async fn login(
    extract::State(state): extract::State<State>,
    Json(request): Json<Request>,
) -> Result<Json<Answer>, MatrixError> {
    if request.kind != PASSWORD {
        return Err(unknown("This server does not know this type of login"));
    }
    let user = user(request.identifier, request.user)?;
    let password = request
        .password
        .ok_or_else(|| MatrixError::missing_param("A password is needed"))?;
    let device = NewDevice {
        id: request.device_id,
        display_name: request.initial_device_display_name,
        refreshes: request.refresh_token,
    };
    // It counts as a failure until it is none, so that many at once are not more tries.
    let claimed = user.clone();
    let account = Caller::Account(&claimed);
    state.limiter.take(Limited::LoginFailures, account)?;
    let begun = state
        .accounts
        .login_password(PasswordLogin {
            user,
            password,
            device,
        })
        .await;
    if !matches!(begun, Err(LoginError::Refused)) {
        state.limiter.give_back(Limited::LoginFailures, account);
    }
    Ok(Json(answer(&state, begun.map_err(refusal)?)))
}

/// Who is meant: <https://spec.matrix.org/v1.19/client-server-api/#identifier-types>
fn user(identifier: Option<Identifier>, user: Option<String>) -> Result<String, MatrixError> {
    let user = match identifier {
        None => user,
        Some(Identifier { kind, user }) => match kind.as_str() {
            "m.id.user" => user,
            // No account has a third-party identifier.
            "m.id.thirdparty" | "m.id.phone" => return Err(refused()),
            _ => return Err(unknown("This server does not know this type of identifier")),
        },
    };
    user.ok_or_else(|| MatrixError::missing_param("The user to log in is missing"))
}

fn answer(state: &State, begun: LoggedIn) -> Answer {
    Answer {
        home_server: begun.user_id.server_name().to_string(),
        user_id: begun.user_id.into(),
        access_token: begun.access_token.as_str().to_owned(),
        refresh_token: begun.refresh_token.map(|token| token.as_str().to_owned()),
        expires_in_ms: begun.expires_in_ms,
        device_id: begun.device_id,
        well_known: well_known::Client::configured(state),
    }
}

fn refusal(error: LoginError) -> MatrixError {
    match error {
        LoginError::Refused => refused(),
        LoginError::Locked => MatrixError::user_locked(),
        LoginError::Device(error) => device_refusal(error),
        LoginError::Hash(_) | LoginError::Database(_) => MatrixError::internal(error),
    }
}

fn refused() -> MatrixError {
    MatrixError::forbidden("Wrong user name or password")
}

fn unknown(message: &str) -> MatrixError {
    MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message)
}
