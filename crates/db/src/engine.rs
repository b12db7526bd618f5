//! What an engine must offer: statements within a transaction, and the transaction itself.

use crate::error::Error;
use crate::sql::Sql;
use crate::value::Value;

/// Which engine a statement is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// One row of an answer. Columns are numbered from 0.
pub trait Row {
    /// The integer in `column`, or `None` for NULL.
    ///
    /// # Errors
    /// [`Error::Column`] when the column holds something else or doesn't exist; so for the others.
    fn opt_int(&self, column: usize) -> Result<Option<i64>, Error>;
    /// The text in `column`, or `None` for NULL.
    ///
    /// # Errors
    /// As [`Row::opt_int`].
    fn opt_text(&self, column: usize) -> Result<Option<&str>, Error>;
    /// The bytes in `column`, or `None` for NULL.
    ///
    /// # Errors
    /// As [`Row::opt_int`].
    fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, Error>;
    /// The name of the statement, for errors.
    fn statement(&self) -> &'static str;

    /// The integer in `column`.
    ///
    /// # Errors
    /// As [`Row::opt_int`]; also for NULL.
    fn int(&self, column: usize) -> Result<i64, Error> {
        self.opt_int(column)?
            .ok_or_else(|| null(self.statement(), column, "an integer"))
    }

    /// The truth value in `column`.
    ///
    /// # Errors
    /// As [`Row::int`].
    fn truth(&self, column: usize) -> Result<bool, Error> {
        Ok(self.int(column)? != 0)
    }

    /// The text in `column`.
    ///
    /// # Errors
    /// As [`Row::int`].
    fn text(&self, column: usize) -> Result<&str, Error> {
        self.opt_text(column)?
            .ok_or_else(|| null(self.statement(), column, "a text"))
    }

    /// The bytes in `column`.
    ///
    /// # Errors
    /// As [`Row::int`].
    fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        self.opt_bytes(column)?
            .ok_or_else(|| null(self.statement(), column, "bytes"))
    }

    /// The bytes in `column`, read as UTF-8.
    ///
    /// # Errors
    /// As [`Row::int`]; also when they are no UTF-8.
    fn utf8(&self, column: usize) -> Result<&str, Error> {
        std::str::from_utf8(self.bytes(column)?)
            .map_err(|_| null(self.statement(), column, "UTF-8"))
    }
}

fn null(statement: &'static str, column: usize, wanted: &'static str) -> Error {
    Error::Column {
        statement,
        column,
        wanted,
    }
}

/// What a query does with each row.
pub(crate) type EachRow<'a> = dyn FnMut(&dyn Row) -> Result<(), Error> + 'a;

/// A connection on which statements run.
pub(crate) trait Connection {
    fn dialect(&self) -> Dialect;
    fn execute(&mut self, sql: &'static Sql, params: &[Value<'_>]) -> Result<u64, Error>;
    fn query(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
        each: &mut EachRow<'_>,
    ) -> Result<(), Error>;
    fn prepare(&mut self, sql: &'static Sql) -> Result<(), Error>;
    /// Runs statements without parameters, without keeping them prepared: migrations.
    fn script(&mut self, name: &'static str, text: &str) -> Result<(), Error>;
}

/// A connection that writes: the verbs of a transaction.
pub(crate) trait WriteConnection: Connection {
    /// Begins; a relaxed transaction isn't waited for by the disk when it commits.
    fn begin(&mut self, relaxed: bool) -> Result<(), Error>;
    /// Commits. When this returns `Ok`, the transaction is stored (on the disk, unless it is relaxed).
    fn commit(&mut self) -> Result<(), Error>;
    fn rollback(&mut self) -> Result<(), Error>;
    fn savepoint(&mut self) -> Result<(), Error>;
    fn release(&mut self) -> Result<(), Error>;
    fn rollback_to_savepoint(&mut self) -> Result<(), Error>;
    /// Keeps other nodes away from `keys` (ascending, distinct) until the transaction ends.
    fn lock(&mut self, keys: &[i64]) -> Result<(), Error>;
    /// Locks the row of the last position, the last lock taken, and reads it.
    fn head_for_update(&mut self) -> Result<i64, Error>;
}
