//! Every connection that the server opens.
//!
//! * [`ServerLocator`] finds where a server is reached: <https://spec.matrix.org/v1.19/server-server-api/#server-discovery>.
//! * [`Transport`] takes a request to a server; [`Network`] is the one over HTTPS, and simulations have another.
//! * [`Health`] knows which servers are better left alone for a while.
//! * [`FederationClient`] signs requests, and brings the answers back.
//! * [`KeyRing`] finds the keys of other servers.
//!
//! Names are looked up by a [`Resolver`], and no connection goes to an address that [`Addresses`] refuses.

mod addresses;
mod authority;
mod client;
mod connector;
mod error;
mod health;
mod http_client;
mod key_ring;
mod locator;
mod network;
mod resolver;
mod tls;
mod transport;
mod well_known;

pub use addresses::Addresses;
pub use authority::Authority;
pub use client::{FederationClient, Identity};
pub use error::{OutboundError, RemoteError};
pub use health::{Backoff, Health};
pub use key_ring::{KeyRing, Keys, WantedKey};
pub use locator::{Ports, ServerLocator};
pub use network::{Network, NetworkOptions};
pub use resolver::{Dns, Resolver, ResolverError, Srv};
pub use tls::{TlsError, TlsOptions, check_authorities, tls_config};
pub use transport::{Answer, Method, Request, Transport};
