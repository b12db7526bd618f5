//! How far the log was, noted in the data folder now and then: if an older copy of the database is put back in its place,
//! the server notices at its next start, and says what to do. Where the whole folder was put back, nothing shows it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use starling_bus::Bus;
use starling_http::Shutdown;

use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::open::Opened;

/// The file: the id of the log, its epoch and a position that was given out, separated by spaces.
const FILE: &str = "starling.head";

/// How often it is noted how far the log is.
const EVERY: Duration = Duration::from_secs(10);

/// The note of this server's log.
#[derive(Debug, Clone)]
pub(crate) struct HeadNote {
    path: PathBuf,
    log_id: i64,
    epoch: i64,
}

impl HeadNote {
    /// Compares the database with the note, if there is one, and notes where it is now.
    pub(crate) fn check(configuration: &Configuration, opened: &Opened) -> Result<Self, Failure> {
        let note = Self {
            path: configuration.config.data_dir.join(FILE),
            log_id: opened.log_id,
            epoch: opened.store.epoch(),
        };
        let now = (note.epoch, opened.bus.head());
        let restored = configuration.command("restored");
        match note.read() {
            Some((log_id, ..)) if log_id != note.log_id => Err(Failure::new(format!(
                "the data folder had another database the last time, of which nothing is here: put that back, run {restored} \
                 first if this is an older copy, or remove {} if another database is meant",
                note.path.display()
            ))),
            Some((_, epoch, position)) if (epoch, position) > now => Err(Failure::new(format!(
                "the database is an older copy of what it was (it ends at {} of epoch {}, and had come to {} of epoch {}): \
                 run {restored} first, or remove {} if you know that nothing is lost",
                now.1,
                now.0,
                position,
                epoch,
                note.path.display()
            ))),
            _ => {
                note.write(now.1);
                Ok(note)
            }
        }
    }

    /// Notes how far the log is, whenever it has moved on, until the server stops.
    pub(crate) async fn follow(self, bus: Bus, shutdown: Shutdown) {
        let mut noted = bus.head();
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let head = bus.head();
            if head != noted {
                self.write(head);
                noted = head;
            }
        }
    }

    /// The epoch and the position that this log had come to, as far as was noted; else both are 0.
    pub(crate) fn known(data_dir: &Path, log_id: i64) -> (i64, i64) {
        let note = Self {
            path: data_dir.join(FILE),
            log_id,
            epoch: 0,
        };
        let noted = note.read().filter(|(noted, ..)| *noted == log_id);
        noted.map_or((0, 0), |(_, epoch, position)| (epoch, position))
    }

    /// Notes that the log has begun this epoch at this position, whatever was noted: the database may be another one than it
    /// was, and is meant to be.
    pub(crate) fn begin(data_dir: &Path, log_id: i64, begun: (i64, i64)) -> io::Result<()> {
        let note = Self {
            path: data_dir.join(FILE),
            log_id,
            epoch: begun.0,
        };
        note.try_write(begun.1)
    }

    /// The log, epoch and position as noted. A file that can't be read says nothing.
    fn read(&self) -> Option<(i64, i64, i64)> {
        let text = fs::read_to_string(&self.path).ok()?;
        let numbers: Result<Vec<i64>, _> = text.split_whitespace().map(str::parse).collect();
        match numbers.ok()?[..] {
            [log_id, epoch, position] => Some((log_id, epoch, position)),
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
