//! The page on which a stage of interactive authentication is done in a browser.
//! <https://spec.matrix.org/v1.19/client-server-api/#fallback>

use axum::extract;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use starling_accounts::{InteractiveSession, Stage};
use starling_http::{Auth, Limited, MatrixError, Path, Query, RawBody, Routes};

use crate::State;
use crate::interactive_auth::is_token_good;

const PATH: &str = "/_matrix/client/v3/auth/{authType}/fallback/web";

/// The largest form, in bytes.
const FORM_BYTES: usize = 4096;

/// Letters of the number that lets the page's own script run, and no other.
const NONCE_LETTERS: usize = 24;

const TOO_OLD: &str =
    "<p>This page is too old, or not meant for you. Go back to your app, and begin anew.</p>";

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get(PATH, Auth::None, show)
        .post(PATH, Auth::None, submit)
        .limit(Limited::RegistrationAvailability)
        .body_limit(FORM_BYTES)
}

#[derive(Deserialize)]
struct SessionQuery {
    session: String,
}

async fn show(
    extract::State(api): extract::State<State>,
    Path(stage): Path<String>,
    Query(query): Query<SessionQuery>,
) -> Result<Response, MatrixError> {
    let stage = offered(&stage)?;
    Ok(match api.accounts.interactive_session(&query.session) {
        Some(session) => form(StatusCode::OK, stage, &session, None),
        None => page(StatusCode::BAD_REQUEST, TOO_OLD, None),
    })
}

#[derive(Deserialize)]
struct Form {
    session: String,
    token: Option<String>,
}

async fn submit(
    extract::State(api): extract::State<State>,
    Path(stage): Path<String>,
    RawBody(body): RawBody,
) -> Result<Response, MatrixError> {
    let stage = offered(&stage)?;
    let form_data: Form = serde_html_form::from_bytes(&body)
        .map_err(|error| MatrixError::invalid_param(error.to_string()))?;
    let Some(session) = api.accounts.interactive_session(&form_data.session) else {
        return Ok(page(StatusCode::BAD_REQUEST, TOO_OLD, None));
    };
    let token = match stage {
        Stage::RegistrationToken => {
            let token = form_data.token.unwrap_or_default();
            let token = token.trim();
            if !is_token_good(&api, token.to_owned()).await? {
                let problem = Some("This token is not good.");
                return Ok(form(StatusCode::UNAUTHORIZED, stage, &session, problem));
            }
            Some(token.to_owned())
        }
        Stage::Dummy | Stage::Password => None,
    };
    let done = api.accounts.do_stage(&session, stage, token).await;
    done.map_err(MatrixError::internal)?;
    let nonce = api.chance.token(NONCE_LETTERS);
    Ok(page(StatusCode::OK, &done_body(&nonce), Some(&nonce)))
}

/// The stages that have a page. Every client has a field for a password.
fn offered(stage: &str) -> Result<Stage, MatrixError> {
    let stage = Stage::parse(stage).filter(|stage| *stage != Stage::Password);
    stage.ok_or_else(MatrixError::unrecognized)
}

fn form(
    status: StatusCode,
    stage: Stage,
    session: &InteractiveSession,
    problem: Option<&str>,
) -> Response {
    let field = match stage {
        Stage::RegistrationToken => {
            "<p><label>The token that you were given: \
             <input name=\"token\" required maxlength=\"64\" autocomplete=\"off\"></label></p>\n"
        }
        Stage::Dummy | Stage::Password => "",
    };
    let problem = problem.map(|problem| format!("<p role=\"alert\">{problem}</p>\n"));
    // The letters of an id need no escaping.
    let body = format!(
        "{}<form method=\"post\">\n<input type=\"hidden\" name=\"session\" value=\"{}\">\n{field}\
         <button>Continue</button>\n</form>",
        problem.unwrap_or_default(),
        session.id(),
    );
    page(status, &body, None)
}

/// Tells the client that the stage is done, as the specification words it.
fn done_body(nonce: &str) -> String {
    format!(
        "<p>Done. You can close this page, and go on in your app.</p>\n\
         <script nonce=\"{nonce}\">\n\
         if (window.onAuthDone) {{\n    window.onAuthDone();\n\
         }} else if (window.opener && window.opener.postMessage) {{\n    \
         window.opener.postMessage(\"authDone\", \"*\");\n}}\n</script>"
    )
}

/// A page that loads nothing. `body` is HTML.
fn page(status: StatusCode, body: &str, nonce: Option<&str>) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Authentication</title>\n</head>\n\
         <body>\n<h1>Authentication</h1>\n{body}\n</body>\n</html>\n"
    );
    let script = nonce.map_or_else(String::new, |nonce| format!(" script-src 'nonce-{nonce}';"));
    let policy = format!(
        "default-src 'none';{script} form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers: [(HeaderName, HeaderValue); 5] = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_str(&policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'")),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // The address holds the session's id.
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, html).into_response()
}
