//! What goes on on a connection, so that one that does nothing can be closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The requests of one connection, and how fast its peer takes the answers.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    begun: AtomicUsize,
    working: AtomicUsize,
    written: AtomicU64,
}

/// What had happened up to a moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// How many requests had begun.
    pub(crate) begun: usize,
    /// How many bytes the peer had taken.
    written: u64,
}

impl Activity {
    /// A request begins; until the guard is dropped, the server works on its answer.
    pub(crate) fn begin(self: &Arc<Self>) -> Working {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.working.fetch_add(1, Ordering::Relaxed);
        Working(self.clone())
    }

    /// What has happened until now.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            begun: self.begun.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        }
    }

    /// Whether the server works on nothing, and since `last` the peer has asked for nothing and taken fewer than this many
    /// bytes of what it had asked for.
    pub(crate) fn is_quiet_since(&self, last: Progress, fewest_bytes: u64) -> bool {
        let now = self.progress();
        let is_idle = self.working.load(Ordering::Relaxed) == 0;
        is_idle && now.begun == last.begun && now.written - last.written < fewest_bytes
    }
}

/// A request that has begun, and whose answer is not there yet.
#[derive(Debug)]
pub(crate) struct Working(Arc<Activity>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The stream of a connection, which counts what the peer takes.
#[derive(Debug)]
pub(crate) struct Counted<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I> Counted<I> {
    /// This stream, counted for that connection.
    pub(crate) fn new(io: I, activity: Arc<Activity>) -> Self {
        Self { io, activity }
    }

    fn count(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.activity
                .written
                .fetch_add(bytes as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
