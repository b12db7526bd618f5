//! The file with the key that this server signs with: one line, for its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use starling_events::SigningKey;

use crate::failure::Failure;

/// Whoever is neither the owner nor of the group.
const OTHERS: u32 = 0o007;

/// The file, and beside it the one that is to take its place.
pub(crate) struct KeyFile<'a> {
    path: &'a Path,
    staged: PathBuf,
}

impl<'a> KeyFile<'a> {
    /// The file at this path.
    pub(crate) fn at(path: &'a Path) -> Self {
        Self {
            path,
            staged: path.with_extension("new"),
        }
    }

    /// The key, if there is a file.
    pub(crate) fn read(&self) -> Result<Option<SigningKey>, Failure> {
        let path = self.path.display();
        let text = match fs::read_to_string(self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::of(
                    format!("cannot read the signing key {path}"),
                    &error,
                ));
            }
        };
        self.warn_if_open();
        let key = SigningKey::parse(&text);
        let key = key.map_err(|error| {
            let problem = Failure::of(format!("the signing key {path}"), &error);
            let line = problem.line();
            Failure::new(format!(
                "{line}: put the right file back, or if that is lost for good, move this one away (`starling key rotate --lost` \
                 makes a new key then)"
            ))
        })?;
        Ok(Some(key))
    }

    /// Who reads the key can speak for every user of this server.
    fn warn_if_open(&self) {
        let mode = fs::metadata(self.path).map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & OTHERS != 0) {
            tracing::warn!(
                path = %self.path.display(),
                "every user of this machine can read or change the signing key: chmod 600 it"
            );
        }
    }

    /// The key that is to take its place. A file that was not written to its end is none.
    pub(crate) fn staged(&self) -> Option<SigningKey> {
        SigningKey::parse(&fs::read_to_string(&self.staged).ok()?).ok()
    }

    /// Writes a key beside the file, and waits for the disk.
    pub(crate) fn stage(&self, key: &SigningKey) -> Result<(), Failure> {
        self.try_stage(&key.to_file()).map_err(|error| {
            let path = self.staged.display();
            Failure::of(format!("cannot write the signing key {path}"), &error)
        })
    }

    /// Puts it in the place of the file, and waits for the disk: events that were signed with it may be out in the world
    /// right after.
    pub(crate) fn take_staged(&self) -> Result<(), Failure> {
        let taken = fs::rename(&self.staged, self.path);
        taken.and_then(|()| self.sync_folder()).map_err(|error| {
            let path = self.path.display();
            Failure::of(format!("cannot write the signing key {path}"), &error)
        })
    }

    fn try_stage(&self, text: &str) -> io::Result<()> {
        fs::create_dir_all(self.folder())?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(self.folder())?.sync_all()
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}
