//! The side of the server.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::address::SocketPath;
use super::request::{Answer, LINE_BYTES, Request};
use crate::user::Users;

/// Connections that wait to be taken.
const BACKLOG: i32 = 16;

/// Conversations at once.
const CONVERSATIONS: usize = 16;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket. It is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    _address: SocketPath,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens in the data folder, which is locked: a socket that is there already is left over from a crash.
    pub(crate) fn bind(data_dir: &Path) -> io::Result<Self> {
        let address = SocketPath::of(data_dir)?;
        let path = address.path().to_owned();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor: OwnedFd =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Before it has a name: at no moment can another user connect.
        fchmod(&descriptor, Mode::RUSR | Mode::WUSR)?;
        bind(&descriptor, &SocketAddrUnix::new(&path)?)?;
        listen(&descriptor, BACKLOG)?;
        let listener = UnixListener::from_std(StdUnixListener::from(descriptor))?;
        Ok(Self {
            listener,
            _address: address,
            path,
        })
    }

    /// Answers until `stop` is done.
    pub(crate) async fn serve(self, users: Users, stop: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(CONVERSATIONS));
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, most likely: not at once again.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                break;
            };
            let users = users.clone();
            tokio::spawn(async move {
                if let Err(error) = converse(stream, &users).await {
                    tracing::debug!(%error, "a conversation on the control socket failed");
                }
                drop(place);
            });
        }
        // Conversations that have begun end first.
        drop(
            places
                .acquire_many(u32::try_from(CONVERSATIONS).unwrap_or(u32::MAX))
                .await,
        );
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A socket that stays behind is removed by the next start.
        drop(std::fs::remove_file(&self.path));
    }
}

async fn converse(mut stream: UnixStream, users: &Users) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut lines = BufReader::new(read.take(LINE_BYTES));
    tokio::time::timeout(PATIENCE, lines.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => users.perform(request).await,
        // Without serde's words, which may quote a password.
        Err(_) => Answer::Refused {
            reason: "the server does not know this request".to_owned(),
        },
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    tokio::time::timeout(PATIENCE, write.write_all(&text)).await?
}
