//! Databases for tests: a fresh one on each engine, opened again, shared by nodes, or after a simulated power cut.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use starling_db::{Db, Dialect, Error, Options, Schema, Simulation};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// Runs `test` with a fresh database of `schema` on SQLite, then on PostgreSQL.
///
/// # Panics
/// When `test` panics, with the engine's name; when `STARLING_TEST_POSTGRES` is missing.
pub async fn on_each_engine<F, Fut>(schema: &'static Schema, test: F)
where
    F: Fn(TestDb) -> Fut,
    Fut: Future<Output = ()>,
{
    for engine in [Dialect::Sqlite, Dialect::Postgres] {
        let db = TestDb::open(engine, schema).await;
        let ran = AssertUnwindSafe(test(db)).catch_unwind().await;
        assert!(
            ran.is_ok(),
            "the test failed on {engine:?}: its own message is above"
        );
    }
}

/// A database of its own for one test, removed when it is dropped.
pub struct TestDb {
    // Private: a closure that uses a public field takes that field alone, and the rest would be dropped at once.
    db: Db,
    schema: &'static Schema,
    place: Place,
}

enum Place {
    Sqlite {
        folder: TempDir,
    },
    Simulated {
        folder: TempDir,
        power_cuts: u32,
        simulation: Simulation,
    },
    Postgres(PostgresDatabase),
}

impl TestDb {
    /// A fresh database.
    ///
    /// # Panics
    /// When it cannot be made; for PostgreSQL also when `STARLING_TEST_POSTGRES` is missing.
    pub async fn open(engine: Dialect, schema: &'static Schema) -> Self {
        let place = match engine {
            Dialect::Sqlite => Place::Sqlite {
                folder: temporary_folder(),
            },
            Dialect::Postgres => Place::Postgres(PostgresDatabase::create().await),
        };
        let db = place.open(schema).await.expect("a fresh database opens");
        Self { db, schema, place }
    }

    /// A fresh SQLite database with a simulated writer and disk.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn simulated(schema: &'static Schema, simulation: Simulation) -> Self {
        let place = Place::Simulated {
            folder: temporary_folder(),
            power_cuts: 0,
            simulation,
        };
        let db = place.open(schema).await.expect("a fresh database opens");
        Self { db, schema, place }
    }

    /// The open database.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> Dialect {
        self.db.dialect()
    }

    /// The URL under which a server finds it: `sqlite:…` or `postgres://…`.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.place {
            Place::Postgres(database) => database.url.clone(),
            place => format!("sqlite:{}", place.path().display()),
        }
    }

    /// Closes the database and opens it again, as a restart does.
    ///
    /// # Panics
    /// When it doesn't open.
    pub async fn reopen(&mut self) {
        self.db.close().await;
        self.db = self
            .open_again(self.schema)
            .await
            .expect("the database opens again");
    }

    /// Opens the same data once more, as another node does (PostgreSQL only), or after [`Db::close`] as another program
    /// does, whose schema may differ.
    ///
    /// # Errors
    /// Why it doesn't open.
    pub async fn open_again(&self, schema: &'static Schema) -> Result<Db, Error> {
        self.place.open(schema).await
    }

    /// Simulated databases only: how the writer behaves from the next power cut on.
    ///
    /// # Panics
    /// When the database isn't simulated.
    pub fn simulate(&mut self, next: Simulation) {
        let Place::Simulated { simulation, .. } = &mut self.place else {
            unreachable!("only a simulated database has a simulated writer")
        };
        *simulation = next;
    }

    /// Simulated databases only: the power fails now, and the database is opened as it is found afterwards.
    ///
    /// # Panics
    /// When the database isn't simulated, or doesn't open.
    pub async fn power_cut(&mut self) {
        let Place::Simulated { power_cuts, .. } = &mut self.place else {
            unreachable!("only a simulated database has power cuts")
        };
        *power_cuts += 1;
        self.db
            .copy_after_power_cut(&self.place.path())
            .expect("the simulated disk is copied");
        self.db = self
            .open_again(self.schema)
            .await
            .expect("the database opens after a power cut");
    }
}

impl TestDb {
    /// Simulated databases only: keeps a copy of the database as it is on the disk now.
    ///
    /// # Panics
    /// When the database isn't simulated.
    pub fn copy(&self) {
        let copied = self.db.copy_after_power_cut(&self.place.copy());
        copied.expect("the simulated disk is copied");
    }

    /// Simulated databases only: puts the copy back that was kept last, and opens it.
    ///
    /// # Panics
    /// When there is no copy, or it doesn't open.
    pub async fn put_back(&mut self) {
        let copy = self.place.copy();
        let Place::Simulated { power_cuts, .. } = &mut self.place else {
            unreachable!("only a simulated database is copied")
        };
        *power_cuts += 1;
        for end in ["", "-wal"] {
            let path = |path: &Path| format!("{}{end}", path.display());
            std::fs::copy(path(&copy), path(&self.place.path())).expect("there is a copy");
        }
        self.db = self.open_again(self.schema).await.expect("the copy opens");
    }
}

impl Place {
    fn copy(&self) -> PathBuf {
        self.path().with_file_name("copy.db")
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Sqlite { folder } => folder.path().join("starling.db"),
            Self::Simulated {
                folder, power_cuts, ..
            } => folder.path().join(format!("starling-{power_cuts}.db")),
            Self::Postgres(_) => PathBuf::new(),
        }
    }

    async fn open(&self, schema: &'static Schema) -> Result<Db, Error> {
        match self {
            Self::Sqlite { .. } => Db::open_sqlite(&self.path(), schema, &Options::default()),
            Self::Simulated { simulation, .. } => {
                Db::open_simulated(&self.path(), schema, simulation.clone())
            }
            Self::Postgres(database) => {
                Db::open_postgres(&database.url, schema, &Options::default()).await
            }
        }
    }
}

fn temporary_folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A database in the tests' cluster.
struct PostgresDatabase {
    cluster: String,
    name: String,
    url: String,
}

impl PostgresDatabase {
    async fn create() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let cluster = cluster();
        let name = format!(
            "test_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        // `template0` has no sessions, which would forbid the copy.
        run(
            &cluster,
            &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"),
        )
        .await;
        let url = url_of(&cluster, &name);
        Self { cluster, name, url }
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let cluster = std::mem::take(&mut self.cluster);
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // A thread of its own, since the one that drops may belong to a runtime, where nothing can be waited for.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(run(&cluster, &statement));
        });
        // What remains goes with the cluster; a panic here could hide the test's own.
        dropping.join().ok();
    }
}

/// Runs one statement in the cluster's maintenance database.
async fn run(cluster: &str, statement: &str) {
    let (client, driver) = tokio_postgres::connect(cluster, NoTls)
        .await
        .expect("the tests' PostgreSQL answers");
    let driver = tokio::spawn(driver);
    client
        .batch_execute(statement)
        .await
        .expect("PostgreSQL makes or drops a test's database");
    drop(client);
    driver
        .await
        .expect("the connection ends")
        .expect("the connection ends well");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests' cluster is named by the script that started it"
)]
fn cluster() -> String {
    std::env::var("STARLING_TEST_POSTGRES").expect(
        "STARLING_TEST_POSTGRES names no PostgreSQL cluster: run the tests with scripts/with-postgres.sh cargo test …",
    )
}

/// The URL `cluster` with another database.
fn url_of(cluster: &str, database: &str) -> String {
    let (address, options) = cluster.split_once('?').unwrap_or((cluster, ""));
    let server = address
        .rsplit_once('/')
        .map_or(address, |(server, _)| server);
    let separator = if options.is_empty() { "" } else { "?" };
    format!("{server}/{database}{separator}{options}")
}
