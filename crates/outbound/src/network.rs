//! Requests over HTTPS.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::Full;
use ruma_common::ServerName;
use rustls::ClientConfig;
use starling_runtime::{Chance, Clock};

use crate::connector::Finds;
use crate::http_client::HttpClient;
use crate::locator::Places;
use crate::{Addresses, Answer, OutboundError, Ports, Request, Resolver, ServerLocator, Transport};

/// What connections are made with.
#[derive(Clone)]
pub struct NetworkOptions {
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
    /// Where connections may go.
    pub addresses: Addresses,
    /// Where servers are whose names say no port.
    pub ports: Ports,
    /// Whose certificates are believed; see [`tls_config`](crate::tls_config).
    pub tls: ClientConfig,
    /// What we say that we are.
    pub user_agent: String,
    /// The clock.
    pub clock: Clock,
    /// Chance, to choose among services.
    pub chance: Chance,
}

/// Takes requests to servers over HTTPS: finds them, and keeps connections open for further requests.
#[derive(Debug)]
pub struct Network {
    locator: ServerLocator,
    http: HttpClient,
    user_agent: String,
}

impl Network {
    /// No connection yet.
    #[must_use]
    pub fn new(options: NetworkOptions) -> Self {
        let places = Places {
            resolver: options.resolver,
            allowed: options.addresses,
            ports: options.ports,
            chance: options.chance,
        };
        let web = HttpClient::new(Finds::Web, places.clone(), &options.tls);
        Self {
            locator: ServerLocator::new(web, options.clock),
            http: HttpClient::new(Finds::Matrix, places, &options.tls),
            user_agent: options.user_agent,
        }
    }

    async fn take(
        &self,
        destination: &ServerName,
        request: Request,
    ) -> Result<Answer, OutboundError> {
        let authority = self.locator.authority(destination).await;
        let mut built = http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("https://{authority}{}", request.uri))
            // The library would leave out port 443.
            .header(HOST, authority.as_str())
            .header(USER_AGENT, &self.user_agent);
        if let Some(authorization) = &request.authorization {
            built = built.header(AUTHORIZATION, authorization);
        }
        if request.body.is_some() {
            built = built.header(CONTENT_TYPE, "application/json");
        }
        let built = built
            .body(Full::new(request.body.unwrap_or_default()))
            .map_err(|error| OutboundError::Request(error.to_string()))?;
        let answer = self
            .http
            .fetch(built, request.patience, request.answer_bytes)
            .await?;
        Ok(Answer {
            status: answer.status(),
            body: answer.into_body(),
        })
    }
}

impl Transport for Network {
    fn send<'a>(
        &'a self,
        destination: &'a ServerName,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, OutboundError>> {
        Box::pin(self.take(destination, request))
    }
}

impl fmt::Debug for NetworkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkOptions")
            .field("resolver", &self.resolver)
            .field("addresses", &self.addresses)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}
