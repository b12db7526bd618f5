//! A proxy before PostgreSQL that cuts the connection at a commit: before the server has it, or before its answer; and
//! that lets the server vanish.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// What to do with the next commit.
const PASS: u8 = 0;
const CUT_BEFORE: u8 = 1;
const CUT_AFTER: u8 = 2;
const VANISH: u8 = 3;
/// What becomes of a server that was told to vanish: no connection gets through.
const GONE: u8 = 4;

pub(crate) struct Proxy {
    folder: TempDir,
    next: Arc<AtomicU8>,
}

impl Proxy {
    /// Listens before the server whose socket is in `folder`.
    pub(crate) fn before(folder: &Path) -> Self {
        let server = folder.join(".s.PGSQL.5432");
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let next = Arc::new(AtomicU8::new(PASS));
        let orders = Arc::clone(&next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if orders.load(Ordering::SeqCst) == GONE {
                    continue;
                }
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&orders)));
            }
        });
        Self { folder, next }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The next commit doesn't reach the server.
    pub(crate) fn cut_before_commit(&self) {
        self.next.store(CUT_BEFORE, Ordering::SeqCst);
    }

    /// The next commit reaches the server, its answer not the client.
    pub(crate) fn cut_after_commit(&self) {
        self.next.store(CUT_AFTER, Ordering::SeqCst);
    }

    /// The next commit reaches the server, its answer not the client; then the server cannot be reached any more.
    pub(crate) fn vanish_after_commit(&self) {
        self.next.store(VANISH, Ordering::SeqCst);
    }

    /// Whether the server has vanished.
    pub(crate) fn is_gone(&self) -> bool {
        self.next.load(Ordering::SeqCst) == GONE
    }

    /// The server can be reached again.
    pub(crate) fn come_back(&self) {
        self.next.store(PASS, Ordering::SeqCst);
    }

    /// Whether the cut has happened.
    pub(crate) fn has_cut(&self) -> bool {
        self.next.load(Ordering::SeqCst) == PASS
    }
}

async fn forward(client: UnixStream, server: UnixStream, orders: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers =
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        // Only the writer's commits: readers end theirs with COMMIT alone.
        let commits = buffer[..length]
            .windows(16)
            .any(|bytes| bytes == b"SELECT 1; COMMIT");
        let order = if commits {
            orders.swap(PASS, Ordering::SeqCst)
        } else {
            PASS
        };
        if order == VANISH {
            orders.store(GONE, Ordering::SeqCst);
        }
        if order == CUT_AFTER || order == VANISH {
            answers.abort();
            to_server.write_all(&buffer[..length]).await.unwrap();
        }
        if order != PASS {
            return;
        }
        if to_server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    answers.abort();
}
