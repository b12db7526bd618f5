//! Beginning a session: <https://spec.matrix.org/v1.19/client-server-api/#login>

use axum::extract;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use starling_accounts::{HashError, LoggedIn, LoginError, NewDevice, PasswordLogin};
use starling_http::{Auth, Caller, Json, JsonBytes, Limited, MatrixError, Routes};

use super::register::device_refusal;
use super::well_known;
use crate::State;
use crate::identifier::{Identifier, claimed_user};
use crate::session::busy;

const PASSWORD: &str = "m.login.password";
const TOKEN: &str = "m.login.token";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/login", Auth::None, flows)
        .post("/_matrix/client/v3/login", Auth::None, login)
        .limit(Limited::Login)
}

async fn flows() -> JsonBytes {
    JsonBytes(Bytes::from_static(
        br#"{"flows":[{"type":"m.login.password"},{"type":"m.login.token","get_login_token":true}]}"#,
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
    token: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    /// Whether the client renews its access token.
    #[serde(default)]
    refresh_token: bool,
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
    let device = NewDevice {
        id: request.device_id,
        display_name: request.initial_device_display_name,
        refreshes: request.refresh_token,
    };
    let begun = match request.kind.as_str() {
        PASSWORD => {
            let user = claimed_user(request.identifier, request.user)?;
            let password = request.password;
            let password =
                password.ok_or_else(|| MatrixError::missing_param("A password is needed"))?;
            let login = PasswordLogin {
                user,
                password,
                device,
            };
            by_password(&state, login).await?
        }
        TOKEN => {
            let token = request.token;
            let token = token.ok_or_else(|| MatrixError::missing_param("A token is needed"))?;
            state.accounts.login_by_token(&token, device).await
        }
        _ => return Err(unknown("This server does not know this type of login")),
    };
    Ok(Json(answer(&state, begun.map_err(refusal)?)))
}

async fn by_password(
    state: &State,
    login: PasswordLogin,
) -> Result<Result<LoggedIn, LoginError>, MatrixError> {
    // It counts as a failure until it is none, so that many at once are not more tries.
    let claimed = login.user.clone();
    let account = Caller::Account(&claimed);
    state.limiter.take(Limited::LoginFailures, account)?;
    let begun = state.accounts.login_password(login).await;
    if !matches!(begun, Err(LoginError::Refused)) {
        state.limiter.give_back(Limited::LoginFailures, account);
    }
    Ok(begun)
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
        LoginError::Refused => MatrixError::forbidden("Wrong user name or password"),
        LoginError::UnknownToken => MatrixError::forbidden(error.to_string()),
        LoginError::Locked => MatrixError::user_locked(),
        LoginError::Device(error) => device_refusal(error),
        LoginError::Hash(HashError::Busy) => busy(),
        LoginError::Hash(_) | LoginError::Database(_) => MatrixError::internal(error),
    }
}

fn unknown(message: &str) -> MatrixError {
    MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message)
}
