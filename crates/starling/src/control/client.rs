//! The side of the `user` commands.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::address::SocketPath;
use super::request::{Answer, LINE_BYTES, Request};

/// How long an answer may take: a password is hashed behind those of users who log in.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No server listens.
    #[error("no server listens on the socket")]
    NobodyListens(#[source] io::Error),
    /// Somebody listens, and the conversation failed. Whether the request was carried out is not known.
    #[error("the server did not answer")]
    NoAnswer(#[source] io::Error),
}

/// Asks the server of this data folder.
pub(crate) fn call(data_dir: &Path, request: &Request) -> Result<Answer, CallError> {
    let address = SocketPath::of(data_dir).map_err(CallError::NobodyListens)?;
    let stream = UnixStream::connect(address.path()).map_err(CallError::NobodyListens)?;
    converse(stream, request).map_err(CallError::NoAnswer)
}

fn converse(mut stream: UnixStream, request: &Request) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}
