//! Listening, accepting, and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use starling_config::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::peers::Peers;
use crate::serve::Connections;
use crate::{Certificates, Limits, Shutdown, TlsError};

/// How long to wait when the system has no room for a further connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// Its certificate cannot be used.
    #[error("cannot serve TLS on {0}")]
    Tls(SocketAddr, #[source] TlsError),
}

/// Listeners, each with what it serves.
pub struct Server {
    limits: Arc<Limits>,
    shutdown: Shutdown,
    certificates: Certificates,
    listeners: Vec<Open>,
}

/// A listener that is open.
struct Open {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    peers: Peers,
}

impl Server {
    /// Without listeners yet. It stops when the shutdown begins.
    #[must_use]
    pub fn new(limits: Limits, shutdown: Shutdown) -> Self {
        Self {
            limits: Arc::new(limits),
            shutdown,
            certificates: Certificates::default(),
            listeners: Vec::new(),
        }
    }

    /// Opens a listener; from now on connections queue up, and [`Server::run`] answers them with `app`. Gives the address,
    /// with the port that the system chose if the configuration says 0.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the certificate cannot be used.
    pub async fn listen(
        &mut self,
        listener: &Listener,
        app: Router,
    ) -> Result<SocketAddr, ListenError> {
        let address = listener.address;
        let tls = listener
            .tls
            .as_ref()
            .map(|files| self.certificates.add(files))
            .transpose();
        let tls = tls.map_err(|error| ListenError::Tls(address, error))?;
        let failed = |error| ListenError::Bind(address, error);
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        let trusted = listener.trusted_proxies.clone().into();
        let peers = Peers::new(self.limits.connections_per_address, trusted);
        self.listeners.push(Open {
            socket,
            tls,
            app,
            peers,
        });
        Ok(bound)
    }

    /// The certificates of all listeners opened so far, to read them again.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// Serves until the shutdown begins and requests in flight are finished, or their time is over.
    pub async fn run(self) {
        let mut listeners = JoinSet::new();
        for open in self.listeners {
            let (limits, shutdown) = (self.limits.clone(), self.shutdown.clone());
            let connections =
                Connections::new(open.app, open.tls, limits.clone(), shutdown.clone());
            let accepting = accept_all(
                open.socket,
                open.peers,
                Arc::new(connections),
                limits,
                shutdown,
            );
            listeners.spawn(accepting);
        }
        while listeners.join_next().await.is_some() {}
    }
}

async fn accept_all(
    socket: TcpListener,
    peers: Peers,
    connections: Arc<Connections>,
    limits: Arc<Limits>,
    shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => break,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            (slot, stream, peer) = accept(&socket, &slots) => {
                // Whoever has too many already finds this one closed.
                let Some(counted) = peers.admit(peer.ip()) else {
                    tracing::debug!(%peer, "too many connections from one address");
                    continue;
                };
                let connections = connections.clone();
                open.spawn(async move {
                    connections.serve(stream, peer).await;
                    drop((slot, counted));
                });
            }
        }
    }
    drop(socket);
    let drained = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!(connections = open.len(), "requests in flight were cut off");
    }
    open.shutdown().await;
}

/// The next connection, and the slot that it takes.
async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    // The semaphore is never closed, so there always is a slot to wait for.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => return (slot, stream, peer),
            // That peer is gone; the next one may be there.
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections for the moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
    ];
    kinds.contains(&error.kind())
}
