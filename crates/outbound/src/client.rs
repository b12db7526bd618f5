//! Requests to other servers: signed, answered with JSON, and not made to servers that are down.
//! <https://spec.matrix.org/v1.19/server-server-api/#authentication>

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use ruma_common::{OwnedServerName, ServerName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use starling_events::SigningKey;
use starling_events::request_auth::sign_request;

use crate::{Answer, Health, OutboundError, RemoteError, Request, Transport};

/// Counts requests to other servers, by what came of them.
const REQUESTS: &str = "starling_federation_requests_total";

/// Of another server's words so many bytes are kept.
const WORDS: usize = 500;

/// Who we are to other servers.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This server's name.
    pub server_name: OwnedServerName,
    /// The key that it signs with.
    pub signing_key: Arc<SigningKey>,
}

/// Asks other servers.
#[derive(Debug, Clone)]
pub struct FederationClient {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    identity: Identity,
    transport: Arc<dyn Transport>,
    health: Health,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errcode: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

impl FederationClient {
    /// Requests in this server's name, on this way.
    #[must_use]
    pub fn new(identity: Identity, transport: Arc<dyn Transport>, health: Health) -> Self {
        let parts = Arc::new(Parts {
            identity,
            transport,
            health,
        });
        Self { parts }
    }

    /// Who we are.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.parts.identity
    }

    /// Which servers are left alone.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.parts.health
    }

    /// The answer to a signed request.
    ///
    /// # Errors
    /// [`RemoteError`], also when the server failed lately and isn't asked.
    pub async fn request(
        &self,
        server: &ServerName,
        mut request: Request,
    ) -> Result<Bytes, RemoteError> {
        let Identity {
            server_name,
            signing_key,
        } = &self.parts.identity;
        request.authorization = Some(sign_request(
            (
                request.method.as_str(),
                &request.uri,
                request.body.as_deref(),
            ),
            (server_name, server),
            signing_key,
        ));
        self.request_unsigned(server, request).await
    }

    /// The answer to a signed request, as what it should be.
    ///
    /// # Errors
    /// As [`FederationClient::request`], and [`RemoteError::Malformed`] when it is something else.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        request: Request,
    ) -> Result<T, RemoteError> {
        let body = self.request(server, request).await?;
        serde_json::from_slice(&body).map_err(|error| RemoteError::Malformed {
            server: server.to_owned(),
            problem: error.to_string(),
        })
    }

    /// The answer to a request that isn't signed, such as for keys.
    ///
    /// # Errors
    /// As [`FederationClient::request`].
    pub async fn request_unsigned(
        &self,
        server: &ServerName,
        request: Request,
    ) -> Result<Bytes, RemoteError> {
        let health = &self.parts.health;
        if let Some(retry_at_ms) = health.retry_at(server)
            && !(request.is_eager && health.may_try(server))
        {
            count("left_alone");
            return Err(RemoteError::BackedOff {
                server: server.to_owned(),
                retry_at_ms,
            });
        }
        self.try_unsigned(server, request).await
    }

    /// As [`FederationClient::request_unsigned`], also of a server that failed lately: for who has reason to think that it is
    /// up again.
    ///
    /// # Errors
    /// As [`FederationClient::request`].
    pub async fn try_unsigned(
        &self,
        server: &ServerName,
        request: Request,
    ) -> Result<Bytes, RemoteError> {
        let health = &self.parts.health;
        match self.parts.transport.send(server, request).await {
            Ok(answer) => {
                if is_failure(answer.status) {
                    health.failed(server, &answer.status);
                } else {
                    health.is_up(server);
                }
                let judged = judge(server, answer);
                count(if judged.is_ok() {
                    "answered"
                } else {
                    "refused"
                });
                judged
            }
            Err(error) => {
                count("failed");
                // What is wrong with our own request, or with the size of this answer, says nothing of the server.
                if !matches!(
                    error,
                    OutboundError::Request(_) | OutboundError::TooLarge(_)
                ) {
                    health.failed(server, &error);
                }
                Err(RemoteError::Unreachable {
                    server: server.to_owned(),
                    error,
                })
            }
        }
    }
}

fn count(result: &'static str) {
    metrics::counter!(REQUESTS, "result" => result).increment(1);
}

/// Whether a server, or what stands before it, says that it can't do anything now.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn judge(server: &ServerName, answer: Answer) -> Result<Bytes, RemoteError> {
    let Answer { status, body } = answer;
    if status.is_success() {
        return Ok(body);
    }
    let said: Option<ErrorBody> = serde_json::from_slice(&body).ok();
    let (errcode, error) = said.map_or((None, None), |said| (said.errcode, said.error));
    Err(RemoteError::Refused {
        server: server.to_owned(),
        status,
        errcode: cut(errcode.unwrap_or_else(|| "M_UNKNOWN".to_owned())),
        error: cut(error.unwrap_or_default()),
        body,
    })
}

fn cut(mut text: String) -> String {
    if text.len() > WORDS {
        let end = (0..=WORDS).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}
