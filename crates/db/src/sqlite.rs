//! SQLite: one file, write-ahead log, one writer.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::types::{Null, Value as SqlValue, ValueRef};
use rusqlite::vtab::array::Array;
use rusqlite::{Connection as Sqlite, ErrorCode, OpenFlags};

use crate::engine::{Connection, Dialect, EachRow, Row, WriteConnection};
use crate::error::Error;
use crate::sql::Sql;
use crate::value::Value;

/// How a connection treats the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads only.
    Reader,
    /// The writer: every durable commit is synced.
    Writer,
    /// The writer of a simulation: syncs are simulated, and the write-ahead log is never folded into the database.
    SimulatedWriter,
}

/// A connection to an SQLite database.
pub(crate) struct SqliteConnection {
    sqlite: Sqlite,
    role: Role,
    /// Whether the connection now waits for the disk on commit.
    syncing: bool,
    /// Whether a transaction was begun and not ended by us.
    open: bool,
    /// Why SQLite ended the transaction by itself (disk full, I/O error). Nothing runs until we have ended it too:
    /// each statement would be a transaction of its own.
    rolled_back: Option<Error>,
}

/// Statements kept prepared per connection: more than this program has.
const PREPARED: usize = 512;

impl SqliteConnection {
    pub(crate) fn open(path: &Path, role: Role) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
        let unavailable =
            |error: rusqlite::Error| Error::Unavailable(format!("{}: {error}", path.display()));
        let sqlite = Sqlite::open_with_flags(path, flags).map_err(unavailable)?;
        sqlite.set_prepared_statement_cache_capacity(PREPARED);
        rusqlite::vtab::array::load_module(&sqlite).map_err(unavailable)?;
        sqlite.execute_batch(pragmas(role)).map_err(unavailable)?;
        // Without it SQLite makes a new plan whenever a parameter of `LIMIT`, and some others, gets another value, which
        // takes longer than most of our statements.
        sqlite
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(unavailable)?;
        if role == Role::SimulatedWriter {
            let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            sqlite
                .set_db_config(no_checkpoint, true)
                .map_err(unavailable)?;
        }
        Ok(Self {
            sqlite,
            role,
            syncing: role == Role::Writer,
            open: false,
            rolled_back: None,
        })
    }

    pub(crate) fn begin_read(&mut self) -> Result<(), Error> {
        self.run("begin_read", "BEGIN DEFERRED")?;
        self.open = true;
        Ok(())
    }

    pub(crate) fn end_read(&mut self) -> Result<(), Error> {
        self.run("end_read", "COMMIT")?;
        self.open = false;
        Ok(())
    }

    /// Runs a statement without parameters.
    fn run(&mut self, name: &'static str, text: &str) -> Result<(), Error> {
        self.guard(name, |sqlite| sqlite.prepare_cached(text)?.raw_execute())
            .map(drop)
    }

    /// Runs `work` unless the transaction is lost, and notices when `work` loses it.
    fn guard<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&Sqlite) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        if let Some(error) = &self.rolled_back {
            return Err(error.clone());
        }
        let result = work(&self.sqlite).map_err(|error| classify(name, error));
        if let Err(error) = &result
            && self.open
            && self.sqlite.is_autocommit()
        {
            self.rolled_back = Some(error.clone());
        }
        result
    }

    fn sync_on_commit(&mut self, sync: bool) -> Result<(), Error> {
        if self.role == Role::Writer && self.syncing != sync {
            let text = if sync {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            };
            self.sqlite
                .execute_batch(text)
                .map_err(|error| classify("synchronous", error))?;
            self.syncing = sync;
        }
        Ok(())
    }
}

/// Reads the whole database in the file at `path`, with the write-ahead log beside it as if it belonged there, and compares its
/// parts. Neither is changed.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    let found = find_damage(path).or_else(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(Some(error.to_string())),
        _ => Err(Error::Unavailable(format!("{}: {error}", path.display()))),
    })?;
    found.map_or(Ok(()), |damage| Err(Error::Damaged(damage)))
}

/// The first thing that is wrong with the database, if anything is.
fn find_damage(path: &Path) -> rusqlite::Result<Option<String>> {
    // SQLite keeps an index of the log in a file beside it, and so wants to write.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = Sqlite::open_with_flags(path, flags)?;
    // A log that belongs to another database would be folded into this one.
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    sqlite.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -65536;")?;
    let pages: i64 = sqlite.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages == 0 {
        return Ok(Some("it is empty".to_owned()));
    }
    let found: String = sqlite.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

fn pragmas(role: Role) -> &'static str {
    match role {
        Role::Writer => {
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;
             PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864;"
        }
        Role::SimulatedWriter => {
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;"
        }
        Role::Reader => {
            "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -2048;"
        }
    }
}

impl Drop for SqliteConnection {
    fn drop(&mut self) {
        if self.role == Role::Writer {
            // Leaves a tidy file behind after a graceful stop. A failure, or a reader that is not done in time, only
            // leaves the log to the next start.
            let tidy =
                "PRAGMA busy_timeout = 500; PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);";
            self.sqlite.execute_batch(tidy).ok();
        }
    }
}

impl Connection for SqliteConnection {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn execute(&mut self, sql: &'static Sql, params: &[Value<'_>]) -> Result<u64, Error> {
        let changed = self.guard(sql.name(), |sqlite| {
            let mut statement = sqlite.prepare_cached(sql.text(Dialect::Sqlite))?;
            bind(&mut statement, params)?;
            statement.raw_execute()
        })?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn query(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
        each: &mut EachRow<'_>,
    ) -> Result<(), Error> {
        let name = sql.name();
        self.guard(name, |sqlite| {
            let mut statement = sqlite.prepare_cached(sql.text(Dialect::Sqlite))?;
            bind(&mut statement, params)?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                if let Err(error) = each(&SqliteRow { row, name }) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?
    }

    fn prepare(&mut self, sql: &'static Sql) -> Result<(), Error> {
        let prepared = self.sqlite.prepare(sql.text(Dialect::Sqlite));
        prepared
            .map(drop)
            .map_err(|error| classify(sql.name(), error))
    }

    fn script(&mut self, name: &'static str, text: &str) -> Result<(), Error> {
        self.guard(name, |sqlite| sqlite.execute_batch(text))
    }
}

impl WriteConnection for SqliteConnection {
    fn begin(&mut self, relaxed: bool) -> Result<(), Error> {
        self.sync_on_commit(!relaxed)?;
        self.run("begin", "BEGIN IMMEDIATE")?;
        self.open = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.rolled_back {
            return Err(error.clone());
        }
        let committed = self
            .sqlite
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.raw_execute());
        committed.map_err(|error| Error::Commit(Arc::new(error)))?;
        self.open = false;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.rolled_back = None;
        // A failed statement (disk full, I/O error) may have rolled back by itself.
        if !self.sqlite.is_autocommit() {
            self.run("rollback", "ROLLBACK")?;
        }
        self.open = false;
        Ok(())
    }

    fn savepoint(&mut self) -> Result<(), Error> {
        self.run("savepoint", "SAVEPOINT body")
    }

    fn release(&mut self) -> Result<(), Error> {
        self.run("release", "RELEASE body")
    }

    fn rollback_to_savepoint(&mut self) -> Result<(), Error> {
        self.run("rollback_to", "ROLLBACK TO body")
    }

    fn lock(&mut self, _keys: &[i64]) -> Result<(), Error> {
        // There is one writer, and it is this one.
        Ok(())
    }

    fn head_for_update(&mut self) -> Result<i64, Error> {
        crate::migrate::read_head(self).map(|(position, _)| position)
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value<'_>]) -> rusqlite::Result<()> {
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        return Err(rusqlite::Error::InvalidParameterCount(params.len(), wanted));
    }
    for (index, value) in params.iter().enumerate() {
        let place = index + 1;
        match *value {
            Value::Null => statement.raw_bind_parameter(place, Null)?,
            Value::Int(number) => statement.raw_bind_parameter(place, number)?,
            Value::Text(text) => statement.raw_bind_parameter(place, text)?,
            Value::Bytes(bytes) => statement.raw_bind_parameter(place, bytes)?,
            Value::Ints(values) => {
                statement
                    .raw_bind_parameter(place, list(values, |value| SqlValue::Integer(*value)))?;
            }
            Value::Texts(values) => {
                statement.raw_bind_parameter(
                    place,
                    list(values, |value| SqlValue::Text((*value).into())),
                )?;
            }
            Value::Blobs(values) => {
                statement.raw_bind_parameter(
                    place,
                    list(values, |value| SqlValue::Blob(value.to_vec())),
                )?;
            }
        }
    }
    Ok(())
}

fn list<T>(values: &[T], convert: impl Fn(&T) -> SqlValue) -> Array {
    Rc::new(values.iter().map(convert).collect())
}

fn classify(statement: &'static str, error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let source: crate::error::EngineError = Arc::new(error);
    match code {
        Some(ErrorCode::ConstraintViolation) => Error::Constraint { statement, source },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Conflict { statement, source }
        }
        _ => Error::Statement { statement, source },
    }
}

struct SqliteRow<'a> {
    row: &'a rusqlite::Row<'a>,
    name: &'static str,
}

impl SqliteRow<'_> {
    fn get(&self, column: usize, wanted: &'static str) -> Result<ValueRef<'_>, Error> {
        self.row
            .get_ref(column)
            .map_err(|_| self.wrong(column, wanted))
    }

    fn wrong(&self, column: usize, wanted: &'static str) -> Error {
        Error::Column {
            statement: self.name,
            column,
            wanted,
        }
    }
}

impl Row for SqliteRow<'_> {
    fn opt_int(&self, column: usize) -> Result<Option<i64>, Error> {
        match self.get(column, "an integer")? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            _ => Err(self.wrong(column, "an integer")),
        }
    }

    fn opt_text(&self, column: usize) -> Result<Option<&str>, Error> {
        match self.get(column, "a text")? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => std::str::from_utf8(text)
                .map(Some)
                .map_err(|_| self.wrong(column, "a text")),
            _ => Err(self.wrong(column, "a text")),
        }
    }

    fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, Error> {
        match self.get(column, "bytes")? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            _ => Err(self.wrong(column, "bytes")),
        }
    }

    fn statement(&self) -> &'static str {
        self.name
    }
}
