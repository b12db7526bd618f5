//! The way to other servers, made once: what asks them, and whose keys are known.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ruma_common::{OwnedServerName, ServerName};
use starling_config::Config;
use starling_events::server_keys::OldKey;
use starling_outbound::{
    Addresses, Backoff, Dns, FederationClient, Health, Identity, KeyRing, Network, NetworkOptions,
    Ports, Resolver, ResolverError, Srv, TlsOptions, tls_config,
};

use crate::failure::Failure;
use crate::open::Opened;

/// What speaks to other servers.
#[derive(Debug, Clone)]
pub(crate) struct Federation {
    pub(crate) client: FederationClient,
    pub(crate) keys: KeyRing,
    /// The keys that this server no longer signs with.
    pub(crate) old_keys: Vec<OldKey>,
}

/// The way to other servers by this configuration, for a server that is this one and had these keys before; `None` when it
/// talks to no other.
pub(crate) fn build(
    config: &Config,
    opened: &Opened,
    (identity, old_keys): (Identity, Vec<OldKey>),
) -> Result<Option<Federation>, Failure> {
    let (outbound, federation) = (&config.outbound, &config.federation);
    if !federation.enabled {
        return Ok(None);
    }
    if !outbound.verify_tls {
        tracing::warn!(
            "outbound.verify_tls is false: anybody may pretend to be another server; it is for tests only"
        );
    }
    let tls = TlsOptions {
        extra_ca_files: outbound.extra_ca_files.clone(),
        trusts_all: !outbound.verify_tls,
    };
    let network = Network::new(NetworkOptions {
        resolver: resolver(),
        addresses: if outbound.allow_private_addresses {
            Addresses::All
        } else {
            Addresses::Public
        },
        ports: Ports::default(),
        tls: tls_config(&tls).map_err(|error| Failure::of("[outbound]", &error))?,
        user_agent: concat!("Starling/", env!("CARGO_PKG_VERSION")).to_owned(),
        clock: opened.clock.clone(),
        chance: opened.chance.clone(),
    });
    let backoff = Backoff {
        initial_ms: federation.backoff_initial_ms,
        max_ms: federation.backoff_max_ms,
    };
    let health = Health::new(backoff, opened.clock.clone(), opened.chance.clone());
    let client = FederationClient::new(identity, Arc::new(network), health);
    let notaries: Result<Vec<OwnedServerName>, Failure> = federation
        .trusted_key_servers
        .iter()
        .map(|server| {
            ServerName::parse(server.as_str())
                .map_err(|error| Failure::of("federation.trusted_key_servers", &error))
        })
        .collect();
    let keys = KeyRing::new(
        opened.store.clone(),
        client.clone(),
        opened.clock.clone(),
        notaries?,
    );
    Ok(Some(Federation {
        client,
        keys: keys.with_old_keys(old_keys.clone()),
        old_keys,
    }))
}

/// The system's name servers. A machine without any can still be a server, for its own users.
fn resolver() -> Arc<dyn Resolver> {
    match Dns::system() {
        Ok(dns) => Arc::new(dns),
        Err(error) => {
            tracing::warn!(%error, "servers with names cannot be reached");
            Arc::new(NoNames)
        }
    }
}

/// What looks names up where nothing does.
#[derive(Debug)]
struct NoNames;

impl NoNames {
    fn failure(name: &str) -> ResolverError {
        ResolverError {
            name: name.to_owned(),
            problem: "this machine has no name servers".to_owned(),
        }
    }
}

impl Resolver for NoNames {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolverError>> {
        Box::pin(std::future::ready(Err(Self::failure(host))))
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Srv>, ResolverError>> {
        Box::pin(std::future::ready(Err(Self::failure(name))))
    }
}
