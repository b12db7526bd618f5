//! How many connections each peer has open, so that no one takes all there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use metrics::counter;
use parking_lot::Mutex;
use starling_config::Network;

use crate::address::subscriber;

/// Counts the connections that were refused, for Prometheus.
pub(crate) const REFUSED: &str = "starling_http_connections_refused_total";

/// The open connections of one listener, by the address of their peer (IPv6 by its /64).
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
    /// Proxies bring the connections of many.
    trusted: Arc<[Network]>,
}

/// A connection that counts for its peer until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    peer: Option<IpAddr>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Peers {
    /// Lets each peer have this many connections, and these as many as they like.
    pub(crate) fn new(most: usize, trusted: Arc<[Network]>) -> Self {
        Self {
            open: Arc::default(),
            most,
            trusted,
        }
    }

    /// Counts a connection of this peer; `None` when it has as many as it may.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Counted> {
        let open = self.open.clone();
        if self.trusted.iter().any(|network| network.contains(peer)) {
            return Some(Counted { peer: None, open });
        }
        let peer = subscriber(peer);
        let mut counts = open.lock();
        let count = counts.entry(peer).or_insert(0);
        if *count >= self.most {
            drop(counts);
            counter!(REFUSED).increment(1);
            return None;
        }
        *count += 1;
        drop(counts);
        let peer = Some(peer);
        Some(Counted { peer, open })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(peer) = self.peer else {
            return;
        };
        let mut counts = self.open.lock();
        if let Some(count) = counts.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&peer);
            }
        }
    }
}
