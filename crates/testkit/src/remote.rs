//! Other servers, for tests: requests go to whatever the test makes of them.

use std::sync::Arc;

use ruma_common::owned_server_name;
use starling_events::SigningKey;
use starling_outbound::{Backoff, FederationClient, Health, Identity, KeyRing, Transport};
use starling_rooms::Remote;
use starling_runtime::{Chance, Clock, Cpu};
use starling_store::Store;

/// The key of `localhost`, as which tests' servers go.
pub(crate) fn own_key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate([7; 32], "test").expect("a key"))
}

/// As whom tests' servers go.
#[cfg(feature = "server")]
pub(crate) fn own_identity() -> Identity {
    Identity {
        server_name: owned_server_name!("localhost"),
        signing_key: own_key(),
    }
}

/// How `localhost` speaks to other servers, by this transport.
#[must_use]
pub fn remote_by(transport: Arc<dyn Transport>, store: &Store, clock: &Clock) -> Remote {
    remote_of(client_by(transport, clock), store, clock)
}

/// How `localhost` speaks to other servers, by this client.
pub(crate) fn remote_of(client: FederationClient, store: &Store, clock: &Clock) -> Remote {
    let keys = KeyRing::new(store.clone(), client.clone(), clock.clone(), Vec::new());
    Remote::new(client, keys, Cpu::threads(2, 100))
}

/// Asks other servers in the name of `localhost`, by this transport.
#[must_use]
pub fn client_by(transport: Arc<dyn Transport>, clock: &Clock) -> FederationClient {
    let identity = Identity {
        server_name: owned_server_name!("localhost"),
        signing_key: own_key(),
    };
    let backoff = Backoff {
        initial_ms: 1_000,
        max_ms: 3_600_000,
    };
    let health = Health::new(backoff, clock.clone(), Chance::seeded(9));
    FederationClient::new(identity, transport, health)
}
