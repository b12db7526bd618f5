//! `/_starling/setup`: creates the first administrator, for whoever has the link that was printed at the start.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use starling_accounts::{AccountKind, NewAccount, RegisterError};
use starling_http::{MatrixError, Query, RawBody};
use starling_runtime::{Chance, Clock};
use subtle::ConstantTimeEq as _;

use super::Pages;
use super::html::{escape, page};

/// The letters of the token: about 190 bits of chance.
const TOKEN_LETTERS: usize = 32;

/// The largest form, in bytes.
const FORM_BYTES: usize = 8_192;

/// The link: its token, and whether it still opens anything. A new start makes a new one.
pub(crate) struct SetupLink {
    token: String,
    expires_ms: i64,
    is_used: AtomicBool,
    clock: Clock,
}

impl std::fmt::Debug for SetupLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetupLink")
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

impl SetupLink {
    /// For how long the link is good, in hours.
    pub(crate) const HOURS: i64 = 24;

    /// A link that is good from now on.
    pub(crate) fn new(clock: Clock, chance: &Chance) -> Self {
        let expires_ms = clock.now_ms() + Self::HOURS * 3_600_000;
        Self {
            token: chance.token(TOKEN_LETTERS),
            expires_ms,
            is_used: AtomicBool::new(false),
            clock,
        }
    }

    /// The link, without the server's address.
    pub(crate) fn path(&self) -> String {
        format!("/_starling/setup?token={}", self.token)
    }

    /// Why this token doesn't open it now.
    fn refusal(&self, token: &str) -> Option<&'static str> {
        let is_right: bool = self.token.as_bytes().ct_eq(token.as_bytes()).into();
        if !is_right {
            Some("wrong token")
        } else if self.is_used.load(Ordering::Acquire) {
            Some("used already")
        } else if self.clock.now_ms() >= self.expires_ms {
            Some("expired")
        } else {
            None
        }
    }

    /// Takes it for one account; false when somebody else has taken it.
    fn take(&self) -> bool {
        !self.is_used.swap(true, Ordering::AcqRel)
    }

    /// Opens it again, when the account was not made.
    fn put_back(&self) {
        self.is_used.store(false, Ordering::Release);
    }
}

#[derive(Deserialize)]
pub(super) struct Token {
    #[serde(default)]
    token: String,
}

/// The form.
pub(super) async fn form(
    State(pages): State<Pages>,
    Query(Token { token }): Query<Token>,
) -> Response {
    match opened(&pages, &token) {
        Ok(_) => form_page(StatusCode::OK, &pages, &token, None),
        Err(reason) => refused(reason),
    }
}

#[derive(Deserialize)]
struct Form {
    token: String,
    name: String,
    password: String,
}

/// What the form sends.
pub(super) async fn create(
    State(pages): State<Pages>,
    RawBody(body): RawBody,
) -> Result<Response, MatrixError> {
    if body.len() > FORM_BYTES {
        return Err(MatrixError::too_large("The form is too large"));
    }
    let form: Form = serde_html_form::from_bytes(&body)
        .map_err(|error| MatrixError::invalid_param(error.to_string()))?;
    let link = match opened(&pages, &form.token) {
        Ok(link) if link.take() => link,
        Ok(_) => return Ok(refused("used already")),
        Err(reason) => return Ok(refused(reason)),
    };
    let new = NewAccount {
        localpart: Some(form.name),
        password: Some(form.password),
        kind: AccountKind::User,
        is_admin: true,
        device: None,
        registration_token: None,
    };
    let made = pages.accounts.register(new).await;
    match made {
        Ok(registered) => {
            tracing::info!(user_id = %registered.user_id, "an administrator was made with the setup link");
            let user_id = escape(registered.user_id.as_str());
            let body = format!(
                "<p><code>{user_id}</code> is an administrator. <a href=\"/\">Go on</a></p>"
            );
            Ok(page(StatusCode::OK, "Done", &body))
        }
        Err(error) => {
            link.put_back();
            if let RegisterError::Database(_) | RegisterError::Hash(_) = error {
                return Err(MatrixError::internal(error));
            }
            let problem = match &error {
                RegisterError::Password(error) => error.to_string(),
                error => error.to_string(),
            };
            Ok(form_page(
                StatusCode::BAD_REQUEST,
                &pages,
                &form.token,
                Some(&problem),
            ))
        }
    }
}

/// The link, if this token opens it, or why not.
fn opened<'a>(pages: &'a Pages, token: &str) -> Result<&'a SetupLink, &'static str> {
    let link = pages.setup.as_deref().ok_or("there is no link")?;
    match link.refusal(token) {
        None => Ok(link),
        Some(reason) => Err(reason),
    }
}

/// The same page whatever the reason, which only the log tells.
fn refused(reason: &'static str) -> Response {
    tracing::warn!(reason, "the setup link was refused");
    let body = "<p>It may have been used, or be too old. Whoever runs this server makes an administrator with:</p>\n\
                <pre>starling user create NAME --admin</pre>\n\
                <p>with the same <code>--config</code> as the server was started with, if any.</p>";
    page(StatusCode::FORBIDDEN, "This link is not good", body)
}

fn form_page(status: StatusCode, pages: &Pages, token: &str, problem: Option<&str>) -> Response {
    let problem = problem.map(|problem| format!("<p class=\"problem\">{}</p>\n", escape(problem)));
    let body = format!(
        "{}<form method=\"post\" action=\"/_starling/setup\">\n\
         <input type=\"hidden\" name=\"token\" value=\"{}\">\n\
         <label>Name, the part before <code>:{}</code>\n<input name=\"name\" autocomplete=\"username\" required></label>\n\
         <label>Password\n<input name=\"password\" type=\"password\" autocomplete=\"new-password\" required></label>\n\
         <button>Create</button>\n</form>",
        problem.unwrap_or_default(),
        escape(token),
        escape(pages.server_name.as_str()),
    );
    page(status, "Create the administrator", &body)
}
