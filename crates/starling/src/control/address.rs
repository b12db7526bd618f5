//! The socket's address. A path of more than 107 bytes doesn't fit into one, and is reached through the folder's
//! descriptor.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The socket's name in the data folder.
const NAME: &str = "starling.sock";

/// The longest path that fits into a socket's address, in bytes.
const PATH_BYTES: usize = 107;

/// A path of the socket that fits. It is valid as long as this value lives.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    /// What a path through a descriptor needs.
    _folder: Option<File>,
}

impl SocketPath {
    /// The socket in this data folder.
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        if path.as_os_str().len() <= PATH_BYTES {
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let folder = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(NAME);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
