//! What can go wrong in the database. "Not found" is no error: look-ups return an `Option`.

use std::sync::Arc;

/// A failure of the database or of the way to it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A row with this key exists already, or another constraint of the schema forbids the change.
    #[error("constraint violated in {statement}")]
    Constraint {
        /// The name of the statement.
        statement: &'static str,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// Another transaction was in the way: the whole body may be run again.
    #[error("conflict with another transaction in {statement}")]
    Conflict {
        /// The name of the statement.
        statement: &'static str,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// The engine refused a statement or could not read or write.
    #[error("statement {statement} failed")]
    Statement {
        /// The name of the statement.
        statement: &'static str,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// A column did not hold what was asked for.
    #[error("column {column} of {statement} is not {wanted}")]
    Column {
        /// The name of the statement.
        statement: &'static str,
        /// The number of the column, from 0.
        column: usize,
        /// The type that was asked for.
        wanted: &'static str,
    },
    /// What is stored contradicts itself.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The transaction could not be committed; nothing of it is stored.
    #[error("the transaction could not be committed")]
    Commit(#[source] EngineError),
    /// The connection to PostgreSQL was lost in the commit, and the database could not be reached again to ask:
    /// whether the transaction is stored isn't known. The writer has stopped: see
    /// [`Db::failed`](crate::Db::failed).
    #[error("it is not known whether the transaction is stored")]
    Uncertain(#[source] EngineError),
    /// The database cannot be reached or opened.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database may not be used by this program, for example because a newer one has changed it.
    #[error("{0}")]
    Refused(String),
    /// The server is stopping, or the writer is gone.
    #[error("the database is closed")]
    Closed,
    /// The body panicked: a mistake in the program. Nothing of it is stored.
    #[error("a write panicked")]
    Panicked,
    /// A simulation let this body or commit fail.
    #[error("failed by the simulation")]
    Simulated,
}

/// The engine's own error, shared so that every request of a failed group can report it.
pub type EngineError = Arc<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Whether running the whole transaction again may succeed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}
