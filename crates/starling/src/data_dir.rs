//! The data folder: made on first start, and locked, so that two processes never work on the same data.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::failure::Failure;

/// The file that is locked. It says, for people, who holds the lock.
const LOCK_FILE: &str = "starling.lock";

/// The most bytes of that file that are shown.
const HOLDER_BYTES: u64 = 1_000;

/// The data folder, while this process has it for itself.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

/// Why the folder isn't ours.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it; the text says which.
    Held(String),
    /// It cannot be made or opened.
    Failed(Failure),
}

impl DataDir {
    /// Makes the folder if there is none, and locks it until this value is dropped.
    pub(crate) fn lock(path: &Path) -> Result<Self, LockError> {
        Self::try_lock(path).map_err(|error| {
            LockError::Failed(Failure::of(
                format!("cannot use the data folder {}", path.display()),
                &error,
            ))
        })?
    }

    fn try_lock(path: &Path) -> io::Result<Result<Self, LockError>> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                (&lock).take(HOLDER_BYTES).read_to_string(&mut holder)?;
                return Ok(Err(LockError::Held(holder.trim().to_owned())));
            }
            Err(error) => return Err(error.into()),
        }
        let held = Self {
            path: path.to_owned(),
            lock,
        };
        held.describe(&format!("process {}", std::process::id()))?;
        Ok(Ok(held))
    }

    /// Says who holds the lock, to whoever finds it held.
    pub(crate) fn describe(&self, holder: &str) -> io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.write_all_at(holder.as_bytes(), 0)?;
        (&self.lock).flush()
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
