//! Readers: idle connections, and a bound on how many work at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::commits::Commits;
use crate::error::Error;
use crate::postgres::{Address, PostgresConnection};
use crate::sqlite::{Role, SqliteConnection};
use crate::tx::Tx;

/// Idle SQLite readers kept open; each has a small page cache.
const IDLE_READERS: usize = 8;

/// The readers of one database.
pub(crate) enum Readers {
    Sqlite(SqliteReaders),
    Postgres(Box<PostgresReaders>),
}

pub(crate) struct SqliteReaders {
    path: PathBuf,
    idle: Mutex<Vec<SqliteConnection>>,
    closed: AtomicBool,
    commits: Commits,
    /// How many were run.
    statements: AtomicU64,
    /// Bounds scans; `None` runs them in place (simulation).
    scans: Option<Arc<Semaphore>>,
}

pub(crate) struct PostgresReaders {
    address: Address,
    commits: Commits,
    /// How many were run.
    statements: AtomicU64,
    idle: Mutex<Vec<PostgresConnection>>,
    /// Admission: as many as there are connections.
    permits: Arc<Semaphore>,
}

impl Readers {
    /// How many statements were run in all.
    pub(crate) fn statements(&self) -> u64 {
        let statements = match self {
            Self::Sqlite(readers) => &readers.statements,
            Self::Postgres(readers) => &readers.statements,
        };
        statements.load(Ordering::Relaxed)
    }
}

impl SqliteReaders {
    pub(crate) fn new(path: PathBuf, scans: Option<usize>, commits: Commits) -> Self {
        let scans = scans.map(|most| Arc::new(Semaphore::new(most)));
        Self {
            path,
            idle: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            commits,
            statements: AtomicU64::new(0),
            scans,
        }
    }

    /// Runs `body` on the thread that called, within one snapshot of the database.
    pub(crate) fn run<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed.into());
        }
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::open(&self.path, Role::Reader)?,
        };
        let began = self.commits.count();
        connection.begin_read()?;
        let mut tx = Tx::reading(&mut connection, began);
        let result = body(&mut tx);
        self.statements
            .fetch_add(tx.statements(), Ordering::Relaxed);
        // A connection whose transaction didn't end is not used again; what was read stands.
        if connection.end_read().is_ok() {
            let mut idle = self.idle.lock();
            if idle.len() < IDLE_READERS && !self.closed.load(Ordering::Acquire) {
                idle.push(connection);
            }
        }
        result
    }

    /// A permit for a scan, or `None` where scans run in place.
    pub(crate) async fn scan_permit(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        match &self.scans {
            None => Ok(None),
            Some(scans) => Arc::clone(scans)
                .acquire_owned()
                .await
                .map(Some)
                .map_err(|_| Error::Closed),
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.idle.lock().clear();
    }
}

impl PostgresReaders {
    pub(crate) fn new(address: Address, connections: usize, commits: Commits) -> Self {
        Self {
            address,
            commits,
            statements: AtomicU64::new(0),
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(connections)),
        }
    }

    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)
    }

    /// Runs `body` on the thread that called, which must not be one of the runtime's own.
    pub(crate) fn run<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().pop();
        let mut connection = idle.unwrap_or_else(|| self.address.connection());
        let began = self.commits.count();
        connection.begin_read()?;
        let mut tx = Tx::reading(&mut connection, began);
        let result = body(&mut tx);
        self.statements
            .fetch_add(tx.statements(), Ordering::Relaxed);
        // A connection whose transaction didn't end is not used again; what was read stands.
        if connection.end_read() && !self.permits.is_closed() {
            self.idle.lock().push(connection);
        }
        result
    }

    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }
}
