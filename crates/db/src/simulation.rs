//! The simulated writer: a task on the simulated clock with the same queue, and a disk that forgets what wasn't synced.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use starling_runtime::Chance;

use crate::batch::Faults;
use crate::error::Error;

/// How the simulated writer behaves.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// Chooses delays and faults.
    pub chance: Chance,
    /// How long the disk takes, in milliseconds of the simulated clock.
    pub delay_ms: Range<u64>,
    /// Of a thousand bodies, how many fail.
    pub failing_bodies: u64,
    /// Of a thousand commits, how many fail.
    pub failing_commits: u64,
}

impl Simulation {
    /// No faults; commits take 0 to 9 ms.
    #[must_use]
    pub fn calm(chance: Chance) -> Self {
        Self {
            chance,
            delay_ms: 0..10,
            failing_bodies: 0,
            failing_commits: 0,
        }
    }

    pub(crate) async fn pause(&self) {
        let delay = self.chance.within(self.delay_ms.clone());
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
    }
}

impl Faults for Simulation {
    fn fails_body(&mut self) -> bool {
        self.failing_bodies > 0 && self.chance.within(0..1000) < self.failing_bodies
    }

    fn fails_commit(&mut self) -> bool {
        self.failing_commits > 0 && self.chance.within(0..1000) < self.failing_commits
    }
}

/// Remembers how much of the write-ahead log is on the simulated disk.
#[derive(Debug)]
pub(crate) struct SimulatedDisk {
    path: PathBuf,
    synced: AtomicU64,
}

impl SimulatedDisk {
    pub(crate) fn new(path: &Path) -> Self {
        let disk = Self {
            path: path.to_owned(),
            synced: AtomicU64::new(0),
        };
        disk.sync();
        disk
    }

    /// All that was written so far is on the disk from now on.
    pub(crate) fn sync(&self) {
        let length = fs::metadata(log_of(&self.path)).map_or(0, |file| file.len());
        self.synced.store(length, Ordering::SeqCst);
    }

    /// Writes to `copy` the database as it is found after a power cut now.
    pub(crate) fn copy_synced(&self, copy: &Path) -> Result<(), Error> {
        let failed = |error: std::io::Error| {
            Error::Unavailable(format!("copying the simulated disk: {error}"))
        };
        fs::copy(&self.path, copy).map_err(failed)?;
        let log = fs::read(log_of(&self.path)).map_err(failed)?;
        let synced = usize::try_from(self.synced.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        fs::write(log_of(copy), log.get(..synced).unwrap_or(&log)).map_err(failed)
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}
