//! A transaction as the closures of readers and writers see it.

use crate::engine::{Connection, Dialect, EachRow, Row};
use crate::error::Error;
use crate::migrate::EPOCH_BEGIN;
use crate::sql::Sql;
use crate::value::Value;

/// What runs after the commit, in the order in which it was registered.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// A transaction. Statements run one after the other; nothing is visible to others before the commit.
///
/// A body of which a statement failed fails as a whole, even if it returns `Ok`: PostgreSQL goes on with nothing after
/// a failed statement. What may be there already is written with `ON CONFLICT`.
pub struct Tx<'a> {
    connection: &'a mut dyn Connection,
    hooks: Vec<Hook>,
    /// Whether something may have been changed.
    wrote: bool,
    /// Why the first statement that failed did so.
    failure: Option<Error>,
    /// The count of commits before a reader began; `None` in a write.
    began: Option<u64>,
    /// How many statements were run.
    statements: u64,
}

/// What a body leaves behind, besides its result.
pub(crate) struct Traces {
    pub(crate) hooks: Vec<Hook>,
    pub(crate) wrote: bool,
    pub(crate) failure: Option<Error>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(connection: &'a mut dyn Connection) -> Self {
        Self {
            connection,
            hooks: Vec::new(),
            wrote: false,
            failure: None,
            began: None,
            statements: 0,
        }
    }

    pub(crate) fn into_traces(self) -> Traces {
        Traces {
            hooks: self.hooks,
            wrote: self.wrote,
            failure: self.failure,
        }
    }

    /// A reader's transaction; `began` was taken before its BEGIN.
    pub(crate) fn reading(connection: &'a mut dyn Connection, began: u64) -> Self {
        Self {
            began: Some(began),
            ..Self::new(connection)
        }
    }

    /// How many statements were run.
    pub(crate) fn statements(&self) -> u64 {
        self.statements
    }

    /// Whether all that it sees is committed: only from such a transaction may a cache be filled.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.began.is_some()
    }

    /// The count of [`Commits`](crate::Commits) before this transaction began: it sees all of these. `None` in a
    /// write, whose own changes aren't committed: no cache may be filled from it.
    #[must_use]
    pub fn began(&self) -> Option<u64> {
        self.began
    }

    /// The engine. An arm for one engine needs a comment that says why.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Runs a statement that returns no rows; the number of rows that it changed.
    ///
    /// # Errors
    /// [`Error::Constraint`] and the other failures of a statement.
    pub fn execute(&mut self, sql: &'static Sql, params: &[Value<'_>]) -> Result<u64, Error> {
        self.wrote = true;
        self.statements += 1;
        let result = self.connection.execute(sql, params);
        self.note(result)
    }

    /// Runs a statement that must change exactly one row.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it changed another number of rows; else as [`Tx::execute`].
    pub fn execute_one(&mut self, sql: &'static Sql, params: &[Value<'_>]) -> Result<(), Error> {
        match self.execute(sql, params)? {
            1 => Ok(()),
            rows => Err(Error::Damaged(format!(
                "{} changed {rows} rows instead of one",
                sql.name()
            ))),
        }
    }

    /// Runs `each` on every row of the answer.
    ///
    /// # Errors
    /// Those of the statement, and what `each` returns.
    pub fn query(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
        each: &mut EachRow<'_>,
    ) -> Result<(), Error> {
        self.wrote |= !sql.only_reads();
        self.statements += 1;
        let result = self.connection.query(sql, params, each);
        self.note(result)
    }

    /// The first row of the answer, if there is one.
    ///
    /// # Errors
    /// Those of the statement, and what `read` returns.
    pub fn query_one<T>(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
        mut read: impl FnMut(&dyn Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        self.query(sql, params, &mut |row| {
            if found.is_none() {
                found = Some(read(row)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// All rows of the answer.
    ///
    /// # Errors
    /// Those of the statement, and what `read` returns.
    pub fn query_all<T>(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
        mut read: impl FnMut(&dyn Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        self.query(sql, params, &mut |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Runs an `INSERT … RETURNING` (or another changing statement that returns rows) and reads its one row.
    ///
    /// # Errors
    /// As [`Tx::query_one`].
    pub fn execute_returning<T>(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
        read: impl FnMut(&dyn Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.query_one(sql, params, read)
    }

    /// Checks that the engine accepts a statement.
    ///
    /// # Errors
    /// What the engine says against it.
    pub fn prepare(&mut self, sql: &'static Sql) -> Result<(), Error> {
        self.connection.prepare(sql)
    }

    /// Registers what must be done once this transaction is committed: replacing caches, waking readers. It must not
    /// block or fail.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.failure.get_or_insert_with(|| error.clone());
        }
        result
    }
}

/// Gives out the positions of a transaction, ascending. They become visible with the commit.
#[derive(Debug)]
pub struct Positions {
    last: i64,
}

/// Positions stay exact in JSON numbers.
const LAST_POSITION: i64 = 1 << 53;

/// More than a server gives out in a millisecond for long.
const POSITIONS_PER_MS: i64 = 64;

/// The 8,192nd part of what is left is 2^40 at first.
const JUMP_SHIFT: u32 = 13;

impl Positions {
    pub(crate) fn after(last: i64) -> Self {
        Self { last }
    }

    /// The next position.
    ///
    /// # Errors
    /// [`Error::Damaged`] when all are used up (after 2^53 changes).
    pub fn give(&mut self) -> Result<i64, Error> {
        if self.last >= LAST_POSITION {
            return Err(Error::Damaged("all positions are used up".to_owned()));
        }
        self.last += 1;
        Ok(self.last)
    }

    /// Begins another epoch of the log, after a copy of the database was put back: positions go on beyond all that may have
    /// been given out since the copy was made. The new epoch.
    ///
    /// The copy doesn't know what was given out since, nor whether it was put back before, once or more often. The clock does:
    /// the epoch is at least the time in seconds (`now_ms` is in milliseconds since 1970), and positions go on from 64 for each of
    /// these milliseconds, of which no server gives out as many for long. Where the clock is behind, as one is that has lost its
    /// time, they jump beyond the copy's end and all that is `known` of epoch and position elsewhere. A jump takes a fixed part of
    /// the positions that are left, 2^40 at first: what is given out in three years, at 10,000 a second. So they never run out by
    /// jumps, of which the thousandth is still nearly nine tenths of the first.
    ///
    /// # Errors
    /// [`Error::Damaged`] when all positions are used up; else when the database fails.
    pub fn begin_epoch(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: i64,
        known: (i64, i64),
    ) -> Result<i64, Error> {
        self.give()?;
        let last = self.last.max(known.1.min(LAST_POSITION / 2));
        let by_time = now_ms.saturating_mul(POSITIONS_PER_MS);
        self.last = if by_time > last && by_time < LAST_POSITION / 2 {
            by_time
        } else {
            last + ((LAST_POSITION - last) >> JUMP_SHIFT)
        };
        let at_least = (now_ms / 1000).max(known.0.saturating_add(1));
        let epoch = tx.execute_returning(&EPOCH_BEGIN, &[at_least.into()], |row| row.int(0))?;
        epoch.ok_or_else(|| Error::Damaged("log_head has no row".to_owned()))
    }

    /// Takes back what was given out after `last`, by a body that was rolled back.
    pub(crate) fn take_back(&mut self, last: i64) {
        self.last = last;
    }

    /// The last position given out so far, here or before.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_POSITION, Positions};

    #[test]
    fn positions_end_where_json_numbers_are_no_longer_exact() {
        let mut positions = Positions::after(LAST_POSITION - 1);
        assert_eq!(positions.give().unwrap(), 1 << 53);
        assert!(positions.give().is_err());
        assert_eq!(positions.last(), 1 << 53);
    }
}
