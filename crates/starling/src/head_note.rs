//! How far the log was, noted in the data folder now and then: if an older copy of the database is put back in its place,
//! the server notices at its next start, and says what to do. Where the whole folder was put back, nothing shows it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::open::Opened;

/// The file: the id of the log, its epoch and a position that was given out, separated by spaces.
const FILE: &str = "starling.head";

/// The note of this server's log.
#[derive(Debug, Clone)]
pub(crate) struct HeadNote {
    path: PathBuf,
    log_id: i64,
    epoch: i64,
}

impl HeadNote {
    /// Compares the database with the note, if there is one of this log.
    pub(crate) fn check(data_dir: &Path, opened: &Opened) -> Result<Self, Failure> {
        let note = Self {
            path: data_dir.join(FILE),
            log_id: opened.log_id,
            epoch: opened.store.epoch(),
        };
        let now = (note.epoch, opened.bus.head());
        match note.read() {
            Some(noted) if noted > now => Err(Failure::new(format!(
                "the database is an older copy of what it was (it ends at {} of epoch {}, and had come to {} of epoch {}): \
                 run `starling restored` first, or remove {} if you know that nothing is lost",
                now.1,
                now.0,
                noted.1,
                noted.0,
                note.path.display()
            ))),
            _ => Ok(note),
        }
    }

    /// Epoch and position as noted. A file that can't be read says nothing.
    fn read(&self) -> Option<(i64, i64)> {
        let text = fs::read_to_string(&self.path).ok()?;
        let numbers: Result<Vec<i64>, _> = text.split_whitespace().map(str::parse).collect();
        match numbers.ok()?[..] {
            [log_id, epoch, position] if log_id == self.log_id => Some((epoch, position)),
            _ => None,
        }
    }

    /// Notes a position that is on the disk.
    pub(crate) fn write(&self, position: i64) {
        if let Err(error) = self.try_write(position) {
            tracing::warn!(%error, path = %self.path.display(), "how far the log is was not noted");
        }
    }

    /// The whole file or none, so that no half of it is read later.
    fn try_write(&self, position: i64) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{} {} {position}\n", self.log_id, self.epoch))?;
        fs::rename(&new, &self.path)
    }
}
