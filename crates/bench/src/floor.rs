//! The floor: a server that does only what any homeserver must do for a message that is sent and for its delivery.
//!
//! It shows how much of a real server's time is its own, and how much is HTTP, JSON, hashes, a signature and the disk.
//! It is written on its own: none of the server's crates is in it, for they are what is compared with it.
//!
//! It speaks just enough of the [client-server API](https://spec.matrix.org/v1.19/client-server-api/) that a load
//! generator can drive it like a real server: accounts without passwords, rooms without state, messages, and `/sync` of
//! their timelines.

mod event;
mod http;
mod recent;
mod response;
mod rooms;
mod users;
mod writer;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use event::Signer;
use rooms::Rooms;
use users::Users;

/// The name of the server, in all identifiers.
pub const SERVER_NAME: &str = "floor.example";
/// The identifier of its signing key.
pub const KEY_ID: &str = "ed25519:1";
/// The file of the database, within the data folder.
pub const DATABASE: &str = "floor.sqlite";

/// Why the floor doesn't run.
#[derive(Debug, Error)]
pub enum FloorError {
    /// The folder, the address or a signal.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The folder holds the events of an earlier run, or the database doesn't work.
    #[error("{DATABASE}: {0}")]
    Database(#[from] rusqlite::Error),
    /// A defect: the writer panicked.
    #[error("the writer: {0}")]
    Writer(#[from] JoinError),
}

/// What all connections share.
#[derive(Debug)]
struct Floor {
    users: Users,
    rooms: Arc<Rooms>,
    signer: Signer,
    queue: mpsc::UnboundedSender<writer::Entry>,
}

/// A server that listens. The connections wait until [`Server::serve`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    floor: Arc<Floor>,
    writer: JoinHandle<Result<(), rusqlite::Error>>,
}

impl Server {
    /// Opens a database in the folder `data`, which must not hold one yet: who is in which room isn't stored. The port
    /// may be 0 for any that is free.
    ///
    /// # Errors
    /// When the folder can't be written to, holds a database, or the address can't be had.
    pub async fn open(data: &Path, address: SocketAddr) -> Result<Self, FloorError> {
        fs::create_dir_all(data)?;
        let connection = writer::open(&data.join(DATABASE))?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let rooms = Arc::new(Rooms::default());
        let (queue, entries) = mpsc::unbounded_channel();
        let (stored, batches) = mpsc::unbounded_channel();
        let writer =
            tokio::task::spawn_blocking(move || writer::run(&connection, entries, &stored));
        tokio::spawn(rooms::publish(rooms.clone(), batches));
        let floor = Arc::new(Floor {
            users: Users::default(),
            rooms,
            signer: Signer::new(),
            queue,
        });
        Ok(Self {
            listener,
            address,
            floor,
            writer,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that the signatures of events are checked with.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.floor.signer.verifying_key()
    }

    /// Serves until `end` is ready. Then connections are cut, and what was sent before is written.
    ///
    /// # Errors
    /// When connections can't be accepted, and at the end when writing had failed.
    pub async fn serve(self, end: impl Future<Output = ()>) -> Result<(), FloorError> {
        let mut connections = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    connections.spawn(connection(accepted?.0, self.floor.clone()));
                }
                Some(_) = connections.join_next() => {}
                () = &mut end => break,
            }
        }
        connections.shutdown().await;
        // With the last sender of its queue the writer ends.
        drop(self.floor);
        Ok(self.writer.await??)
    }
}

async fn connection(stream: TcpStream, floor: Arc<Floor>) {
    // It can only fail when the peer is gone already.
    stream.set_nodelay(true).ok();
    let service = service_fn(|request| http::answer(&floor, request));
    let serving = hyper::server::conn::http1::Builder::new();
    // A client may close its connection whenever it likes.
    serving
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

/// Serves on a thread for each core until SIGTERM. `ready` is told the address when connections are accepted.
///
/// # Errors
/// As [`Server::open`] and [`Server::serve`].
pub fn run(
    data: &Path,
    address: SocketAddr,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), FloorError> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::open(data, address).await?;
        ready(server.address());
        let end = async {
            terminate.recv().await;
        };
        server.serve(end).await
    })
}
