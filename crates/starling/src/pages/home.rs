//! `GET /`: what runs here, and how to use it.

use axum::extract::State;
use axum::response::Response;
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use starling_config::RegistrationMode;

use super::Pages;
use super::html::{escape, page};
use crate::version::VERSION;

/// The longest name of a host, with its port, that is shown.
const HOST_BYTES: usize = 300;

pub(super) async fn home(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let here = address(&headers);
    let server_name = escape(pages.server_name.as_str());
    let body = format!(
        "<p>This is Starling {VERSION}, a <a href=\"https://matrix.org/\">Matrix</a> homeserver: it runs, and its users' \
         ids end in <code>:{server_name}</code>. Its <a href=\"/_starling/health\">health</a> says whether it can serve.</p>\n\
         <h2>Connect a client</h2>\n\
         <p>Give your Matrix client this homeserver address: <code>{here}</code></p>\n\
         <h2>Register</h2>\n{}",
        registration(pages.registration, &here),
    );
    page(StatusCode::OK, "Starling", &body)
}

/// The address under which this page was asked for, escaped.
fn address(headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .filter(|host| host.len() <= HOST_BYTES);
    let is_https = headers
        .get("x-forwarded-proto")
        .is_some_and(|scheme| scheme == "https");
    let scheme = if is_https { "https" } else { "http" };
    escape(&format!("{scheme}://{}", host.unwrap_or("localhost")))
}

/// How to get an account.
fn registration(mode: RegistrationMode, here: &str) -> String {
    match mode {
        RegistrationMode::Open => format!(
            "<p>Anybody can register: with a client, or on the command line:</p>\n\
             <pre>curl -X POST {here}/_matrix/client/v3/register \\\n  \
             -H &#39;Content-Type: application/json&#39; \\\n  \
             -d &#39;{{\"username\": \"alice\", \"password\": \"a long password\", \"auth\": {{\"type\": \"m.login.dummy\"}}}}&#39;</pre>"
        ),
        RegistrationMode::Token => {
            "<p>Who has a registration token can register with a client. Whoever runs the server makes tokens:</p>\n\
             <pre>starling token create</pre>"
                .to_owned()
        }
        RegistrationMode::Closed => {
            "<p>Nobody can register by themselves here. Whoever runs the server makes accounts:</p>\n\
             <pre>starling user create alice</pre>"
                .to_owned()
        }
    }
}
