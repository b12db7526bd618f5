//! Migrations: forward only, with the schema's version and the oldest program that may open it recorded.

use crate::engine::{Connection, WriteConnection};
use crate::error::Error;
use crate::sql::{Sql, expand};

crate::statements! {
    /// The recorded schema.
    SCHEMA_READ = "SELECT version, oldest_program FROM db_schema WHERE id = 1";
    /// Records a schema.
    SCHEMA_WRITE = "INSERT INTO db_schema (id, version, oldest_program) VALUES (1, ?1, ?2)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, oldest_program = excluded.oldest_program";
    /// The last position given out, and the epoch.
    HEAD_READ = "SELECT position, epoch FROM log_head WHERE id = 1";
    /// Raises the last position.
    RAISE_HEAD = "UPDATE log_head SET position = ?1 WHERE id = 1";
    /// Begins another epoch, of a number or a greater one.
    EPOCH_BEGIN = "UPDATE log_head SET epoch = CASE WHEN epoch < CAST(?1 AS BIGINT) THEN CAST(?1 AS BIGINT) ELSE epoch + 1 END
        WHERE id = 1 RETURNING epoch";
}

/// The statements of this crate that are the same on both engines, for the test that prepares each.
#[must_use]
pub fn statements() -> &'static [&'static Sql] {
    STATEMENTS
}

/// The tables of this crate: the schema's version, and the last position given out with the epoch of the log.
const OWN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS db_schema (id BIGINT PRIMARY KEY, version BIGINT NOT NULL, oldest_program BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS log_head (id BIGINT PRIMARY KEY, position BIGINT NOT NULL, epoch BIGINT NOT NULL);
    INSERT INTO log_head (id, position, epoch) VALUES (1, 0, 1) ON CONFLICT (id) DO NOTHING;
";

/// One step of the schema. Its number is its place in the list, from 1.
#[derive(Debug)]
pub struct Migration {
    /// `NNNN_name`, as the file is called.
    pub name: &'static str,
    /// Statements with the macros of [`Sql`](crate::Sql), separated by semicolons.
    pub text: &'static str,
}

/// The schema that a program knows.
#[derive(Debug)]
pub struct Schema {
    /// Every migration, oldest first; never edited once released.
    pub migrations: &'static [Migration],
    /// The version of the oldest program that can still work with this schema: two neighbours run side by side.
    pub oldest_program: i64,
}

impl Schema {
    /// The version of the schema that this program makes: the number of its migrations.
    #[must_use]
    pub fn version(&self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }
}

/// Brings the database to `schema`, each step in a transaction of its own.
pub(crate) fn migrate(connection: &mut dyn WriteConnection, schema: &Schema) -> Result<(), Error> {
    in_transaction(connection, |connection| {
        run_script(connection, "own_tables", OWN_TABLES)
    })?;
    let (mut version, oldest_program) = recorded(connection)?;
    if oldest_program > schema.version() {
        return Err(Error::Refused(format!(
            "the database was changed by a newer program (schema {version}, which needs a program of schema \
             {oldest_program} or newer; this one is of schema {}): start the newer program",
            schema.version()
        )));
    }
    for migration in schema
        .migrations
        .iter()
        .skip(usize::try_from(version).unwrap_or(0))
    {
        in_transaction(connection, |connection| {
            run_script(connection, migration.name, migration.text)?;
            version += 1;
            connection
                .execute(
                    &SCHEMA_WRITE,
                    &[version.into(), schema.oldest_program.into()],
                )
                .map(drop)
        })?;
        tracing::info!(migration = migration.name, "the database is migrated");
    }
    Ok(())
}

fn recorded(connection: &mut dyn WriteConnection) -> Result<(i64, i64), Error> {
    let mut found = (0, 0);
    connection.query(&SCHEMA_READ, &[], &mut |row| {
        found = (row.int(0)?, row.int(1)?);
        Ok(())
    })?;
    Ok(found)
}

fn run_script(
    connection: &mut dyn WriteConnection,
    name: &'static str,
    text: &str,
) -> Result<(), Error> {
    let text = expand(text, connection.dialect());
    connection.script(name, &text)
}

fn in_transaction(
    connection: &mut dyn WriteConnection,
    body: impl FnOnce(&mut dyn WriteConnection) -> Result<(), Error>,
) -> Result<(), Error> {
    connection.begin(false)?;
    let result = body(connection).and_then(|()| connection.commit());
    if result.is_err() {
        // The first failure says more than a second one would.
        connection.rollback().ok();
    }
    result
}

/// The last position given out and the epoch, as committed.
pub(crate) fn read_head(connection: &mut dyn Connection) -> Result<(i64, i64), Error> {
    let mut head = None;
    connection.query(&HEAD_READ, &[], &mut |row| {
        head = Some((row.int(0)?, row.int(1)?));
        Ok(())
    })?;
    head.ok_or_else(|| Error::Damaged("log_head has no row".to_owned()))
}
