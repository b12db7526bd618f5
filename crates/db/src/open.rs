//! The database as the rest of the program sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use crate::commits::Commits;
use crate::engine::Dialect;
use crate::error::Error;
use crate::migrate::{Schema, migrate};
use crate::postgres::Address;
use crate::reader::{PostgresReaders, Readers, SqliteReaders};
use crate::simulation::{SimulatedDisk, Simulation};
use crate::sqlite::{self, Role, SqliteConnection};
use crate::tx::Tx;
use crate::write::{Job, Slot, Write};
use crate::writer::{self, Stopped};

/// Writes queued or running before further ones wait.
const QUEUE: usize = 4096;

/// How to open a database.
#[derive(Clone, Default)]
pub struct Options {
    /// TLS towards PostgreSQL; without it only plain connections and sockets are used.
    pub tls: Option<rustls::ClientConfig>,
    /// Connections for PostgreSQL's readers, and threads for SQLite's scans; 0 means 4.
    pub readers: usize,
    /// PostgreSQL: whether to refuse a database that another program has opened so, and to keep it from others. What
    /// one program commits, the caches and listeners of another don't learn: a server opens its database exclusively.
    /// The lock belongs to the writer's session, so the way to the server must not pool sessions by transaction.
    /// (SQLite's file is guarded by the lock of the data folder.)
    pub exclusive: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("tls", &self.tls.is_some())
            .field("readers", &self.readers)
            .field("exclusive", &self.exclusive)
            .finish()
    }
}

/// An open database, cheap to clone.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

struct Shared {
    dialect: Dialect,
    readers: Readers,
    queue: Mutex<Option<mpsc::UnboundedSender<Box<dyn Job>>>>,
    places: Arc<Semaphore>,
    stopped: Stopped,
    commits: Commits,
    disk: Option<Arc<SimulatedDisk>>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("dialect", &self.shared.dialect)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Opens (or creates) an SQLite database and brings it to `schema`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be opened, [`Error::Refused`] when a newer program has changed it.
    pub fn open_sqlite(path: &Path, schema: &Schema, options: &Options) -> Result<Self, Error> {
        let mut connection = SqliteConnection::open(path, Role::Writer)?;
        migrate(&mut connection, schema)?;
        let (sender, queue) = mpsc::unbounded_channel();
        let commits = Commits::default();
        let stopped = writer::spawn(connection, queue, commits.clone())?;
        let scans = if options.readers == 0 {
            4
        } else {
            options.readers
        };
        let readers = Readers::Sqlite(SqliteReaders::new(
            path.to_owned(),
            Some(scans),
            commits.clone(),
        ));
        Ok(Self::new(readers, sender, stopped, commits, None))
    }

    /// Reads the whole file of an SQLite database that nobody has open, and compares its parts: whether it is whole. Neither it
    /// nor a write-ahead log beside it is changed, while [`Db::open_sqlite`] folds any log into the file.
    ///
    /// # Errors
    /// [`Error::Damaged`] with what was found first; [`Error::Unavailable`] when the file cannot be read.
    pub fn check_sqlite(path: &Path) -> Result<(), Error> {
        sqlite::check(path)
    }

    /// Connects to PostgreSQL and brings the database to `schema`. The current tokio runtime drives the connections.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the server cannot be reached; [`Error::Refused`] when a newer program has changed
    /// the database, its settings would lose acknowledged writes, or another program has it exclusively
    /// ([`Options::exclusive`]).
    pub async fn open_postgres(
        url: &str,
        schema: &'static Schema,
        options: &Options,
    ) -> Result<Self, Error> {
        let address = Address::parse(url, options.tls.clone())?;
        let mut connection = address.connection();
        let exclusive = options.exclusive;
        let (sender, queue) = mpsc::unbounded_channel();
        let commits = Commits::default();
        let counted = commits.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            if exclusive {
                connection.open_exclusively()?;
            }
            connection.alone_for_long(|connection| migrate(connection, schema))?;
            writer::spawn(connection, queue, counted)
        });
        let stopped = prepared.await.map_err(|_| Error::Closed)??;
        let connections = if options.readers == 0 {
            4
        } else {
            options.readers
        };
        let readers = Readers::Postgres(Box::new(PostgresReaders::new(
            address,
            connections,
            commits.clone(),
        )));
        Ok(Self::new(readers, sender, stopped, commits, None))
    }

    /// Opens an SQLite database whose writer is simulated: a task of the current runtime, with chosen delays and
    /// faults. The file's disk forgets what wasn't synced: see [`Db::copy_after_power_cut`].
    ///
    /// # Errors
    /// As [`Db::open_sqlite`].
    pub fn open_simulated(
        path: &Path,
        schema: &Schema,
        simulation: Simulation,
    ) -> Result<Self, Error> {
        let mut connection = SqliteConnection::open(path, Role::SimulatedWriter)?;
        migrate(&mut connection, schema)?;
        let (sender, queue) = mpsc::unbounded_channel();
        let disk = Arc::new(SimulatedDisk::new(path));
        let commits = Commits::default();
        let simulated = (simulation, Arc::clone(&disk));
        let stopped = writer::spawn_simulated(connection, queue, simulated, commits.clone());
        let readers = SqliteReaders::new(path.to_owned(), None, commits.clone());
        let readers = Readers::Sqlite(readers);
        Ok(Self::new(readers, sender, stopped, commits, Some(disk)))
    }

    fn new(
        readers: Readers,
        sender: mpsc::UnboundedSender<Box<dyn Job>>,
        stopped: Stopped,
        commits: Commits,
        disk: Option<Arc<SimulatedDisk>>,
    ) -> Self {
        let dialect = match &readers {
            Readers::Sqlite(_) => Dialect::Sqlite,
            Readers::Postgres(_) => Dialect::Postgres,
        };
        let shared = Shared {
            dialect,
            readers,
            queue: Mutex::new(Some(sender)),
            places: Arc::new(Semaphore::new(QUEUE)),
            stopped,
            commits,
            disk,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The engine.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.shared.dialect
    }

    /// The count of commits, for caches.
    #[must_use]
    pub fn commits(&self) -> &Commits {
        &self.shared.commits
    }

    /// Resolves when a commit's outcome isn't known ([`Error::Uncertain`]): its hooks never ran, so caches are stale
    /// and listeners miss what may be stored. Further writes fail with [`Error::Closed`]; the program must end, and
    /// begin anew with what is stored. Otherwise it never resolves.
    pub async fn failed(&self) {
        let mut stopped = self.shared.stopped.clone();
        if stopped.wait_for(|failed| *failed).await.is_err() {
            // Closed in good order.
            std::future::pending::<()>().await;
        }
    }

    /// How many statements readers have run so far: what reading costs, for who measures it.
    #[must_use]
    pub fn statements_read(&self) -> u64 {
        self.shared.readers.statements()
    }

    /// Runs point reads within one snapshot. On SQLite `body` runs in place, before the first await; on PostgreSQL on
    /// a thread of its own, behind a bound.
    ///
    /// # Errors
    /// What `body` returns, or that the database cannot be read.
    pub async fn read<T, E>(
        &self,
        what: &'static str,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        metrics::counter!("starling_db_reads_total", "what" => what).increment(1);
        match &self.shared.readers {
            Readers::Sqlite(readers) => readers.run(body),
            Readers::Postgres(_) => self.on_thread(None, body).await,
        }
    }

    /// As [`Db::read`], for what reads much: never on the thread that called.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn scan<T, E>(
        &self,
        what: &'static str,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        metrics::counter!("starling_db_scans_total", "what" => what).increment(1);
        match &self.shared.readers {
            Readers::Sqlite(readers) => {
                let permit = readers.scan_permit().await?;
                if permit.is_some() {
                    self.on_thread(permit, body).await
                } else {
                    readers.run(body)
                }
            }
            Readers::Postgres(_) => self.on_thread(None, body).await,
        }
    }

    /// Runs `body` on a thread where waiting is allowed. `permit` is the scan's; PostgreSQL's readers take their own.
    async fn on_thread<T, E>(
        &self,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let permit = match (&self.shared.readers, permit) {
            (_, Some(permit)) => permit,
            (Readers::Postgres(readers), None) => readers.permit().await?,
            (Readers::Sqlite(_), None) => return Err(Error::Closed.into()),
        };
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            let result = match &shared.readers {
                Readers::Sqlite(readers) => readers.run(body),
                Readers::Postgres(readers) => readers.run(body),
            };
            drop(permit);
            result
        });
        done.await
            .unwrap_or_else(|error| match error.try_into_panic() {
                // As if it had run in place.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Closed.into()),
            })
    }

    /// Waits for a place in the writer's queue.
    ///
    /// # Errors
    /// [`Error::Closed`] when the database is closed.
    pub async fn slot(&self) -> Result<Slot, Error> {
        let permit = Arc::clone(&self.shared.places)
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let queue = self.shared.queue.lock().clone().ok_or(Error::Closed)?;
        Ok(Slot { queue, permit })
    }

    /// Runs `body` in a transaction and waits until it is durable. It may share the commit with other writes, and may
    /// run twice. Rows that take a position need [`Db::write_placed`].
    ///
    /// # Errors
    /// What `body` returns, or why the commit failed; then nothing is stored.
    pub async fn write<T, E>(
        &self,
        write: Write,
        body: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.slot().await?.submit_unplaced(write, body).await
    }

    /// As [`Db::write`], in two steps: `work`, then `place`, which writes the rows that take a position.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub async fn write_placed<A, T, E>(
        &self,
        write: Write,
        work: impl FnMut(&mut Tx<'_>) -> Result<A, E> + Send + 'static,
        place: impl FnMut(&mut Tx<'_>, &mut crate::tx::Positions, A) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        A: Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.slot().await?.submit(write, work, place, || {}).await
    }

    /// The last position given out, and the log's epoch, as committed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn head(&self) -> Result<(i64, i64), Error> {
        self.read("head", |tx| {
            tx.query_one(&crate::migrate::HEAD_READ, &[], |row| {
                Ok((row.int(0)?, row.int(1)?))
            })?
            .ok_or_else(|| Error::Damaged("log_head has no row".to_owned()))
        })
        .await
    }

    /// Stops taking writes, waits until those that are queued are done (a [`Slot`] still held counts as queued), and
    /// closes the database. Writes and reads that come later fail with [`Error::Closed`].
    pub async fn close(&self) {
        self.shared.queue.lock().take();
        let mut stopped = self.shared.stopped.clone();
        // The writer drops its end when it has stopped.
        while stopped.changed().await.is_ok() {}
        match &self.shared.readers {
            Readers::Sqlite(readers) => readers.close(),
            Readers::Postgres(readers) => readers.close(),
        }
    }

    /// Simulation only: writes to `path` the database as it is found after a power cut at this moment.
    ///
    /// # Errors
    /// [`Error::Refused`] when the database isn't simulated; else when files cannot be copied.
    pub fn copy_after_power_cut(&self, path: &Path) -> Result<(), Error> {
        match &self.shared.disk {
            Some(disk) => disk.copy_synced(path),
            None => Err(Error::Refused(
                "only a simulated database has simulated power cuts".to_owned(),
            )),
        }
    }
}

/// Reads the path out of a `sqlite:` URL, or `None` if it is another kind of URL.
#[must_use]
pub fn sqlite_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
}
