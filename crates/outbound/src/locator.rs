//! Where a server is reached. <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use ruma_common::ServerName;
use starling_runtime::{Chance, Clock};

use crate::authority::Host;
use crate::http_client::HttpClient;
use crate::resolver::MAX_ANSWERS;
use crate::well_known::WellKnown;
use crate::{Addresses, Authority, OutboundError, Resolver, Srv};

/// The service of the specification, and the one before it was registered.
const SERVICES: [&str; 2] = ["_matrix-fed._tcp", "_matrix._tcp"];

/// Finds where servers are reached, in two steps: the name that a server delegates to ([`ServerLocator::authority`]), which
/// is also whom the certificate and the `Host` header must name; and the addresses of that
/// ([`Places::matrix`]).
#[derive(Debug)]
pub struct ServerLocator {
    well_known: WellKnown,
}

impl ServerLocator {
    pub(crate) fn new(http: HttpClient, clock: Clock) -> Self {
        Self {
            well_known: WellKnown::new(http, clock),
        }
    }

    /// Step 3: the name that the server delegates to, or its own.
    pub async fn authority(&self, server: &ServerName) -> Authority {
        let own = Authority::of(server);
        if own.port().is_some() || matches!(own.host(), Host::Address(_)) {
            return own;
        }
        self.well_known.delegate(server).await.unwrap_or(own)
    }
}

/// Finds the addresses of names.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) allowed: Addresses,
    pub(crate) ports: Ports,
    pub(crate) chance: Chance,
}

/// Where servers are whose names say no port: as the specification has it, but in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Of web servers, which are asked for the well-known file.
    pub web: u16,
    /// Of Matrix servers.
    pub matrix: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            web: 443,
            matrix: 8448,
        }
    }
}

impl Places {
    /// Where the web server of that name is.
    pub(crate) async fn web(
        &self,
        authority: &Authority,
    ) -> Result<Vec<SocketAddr>, OutboundError> {
        let port = authority.port().unwrap_or(self.ports.web);
        self.addresses(authority.host(), port).await
    }

    /// Where the Matrix server of that name is: an address or a name with a port says all; otherwise its service records do,
    /// and without any it is on port 8448.
    pub(crate) async fn matrix(
        &self,
        authority: &Authority,
    ) -> Result<Vec<SocketAddr>, OutboundError> {
        if let (Host::Name(name), None) = (authority.host(), authority.port())
            && let Some(services) = self.services(name).await?
        {
            return self.of_services(name, services).await;
        }
        let port = authority.port().unwrap_or(self.ports.matrix);
        self.addresses(authority.host(), port).await
    }

    /// The records of the first service that the name has, in the order in which they are to be tried.
    async fn services(&self, name: &str) -> Result<Option<Vec<Srv>>, OutboundError> {
        for service in SERVICES {
            // Name servers that cannot say are taken as if there were no record: the certificate must be the name's all the
            // same, and some never answer about services.
            let services = self.resolver.services(&format!("{service}.{name}")).await;
            let services = services.unwrap_or_else(|error| {
                tracing::debug!(%error, "no service records");
                Vec::new()
            });
            if !services.is_empty() {
                return Ok(Some(in_order(services, &self.chance)));
            }
        }
        Ok(None)
    }

    /// The addresses of the services' hosts. That of one which has none doesn't matter if others have some.
    async fn of_services(
        &self,
        name: &str,
        services: Vec<Srv>,
    ) -> Result<Vec<SocketAddr>, OutboundError> {
        let mut found = Vec::new();
        let mut failure = OutboundError::NoAddress(name.to_owned());
        for service in services.iter().filter(|service| !service.target.is_empty()) {
            let target = Host::Name(service.target.to_ascii_lowercase().into());
            match self.addresses(&target, service.port).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => failure = error,
            }
            if found.len() >= MAX_ANSWERS {
                break;
            }
        }
        if found.is_empty() {
            return Err(failure);
        }
        Ok(found)
    }

    async fn addresses(&self, host: &Host, port: u16) -> Result<Vec<SocketAddr>, OutboundError> {
        let (name, addresses) = match host {
            Host::Address(address) => (address.to_string(), vec![*address]),
            Host::Name(name) => (name.to_string(), self.resolver.addresses(name).await?),
        };
        let Some(first) = addresses.first().copied() else {
            return Err(OutboundError::NoAddress(name));
        };
        let allowed = addresses
            .into_iter()
            .filter(|address| self.allowed.allow(*address));
        let allowed: Vec<SocketAddr> = allowed
            .map(|address| SocketAddr::new(address, port))
            .collect();
        if allowed.is_empty() {
            return Err(OutboundError::RefusedAddress {
                host: name,
                address: first,
            });
        }
        Ok(allowed)
    }
}

/// By priority, and among equals by chance according to their weights:
/// <https://www.rfc-editor.org/rfc/rfc2782>.
fn in_order(mut services: Vec<Srv>, chance: &Chance) -> Vec<Srv> {
    // Each draws a number that is the larger, the larger its weight is.
    let mut drawn: Vec<(u16, Reverse<u64>, Srv)> = services
        .drain(..)
        .map(|service| {
            let draw = chance.within(0..u64::from(service.weight) * 1000 + 1);
            (service.priority, Reverse(draw), service)
        })
        .collect();
    drawn.sort_by_key(|(priority, draw, _)| (*priority, *draw));
    drawn.into_iter().map(|(_, _, service)| service).collect()
}
