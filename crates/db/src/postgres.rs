//! PostgreSQL: connections for the writer and the readers, each a synchronous face on `tokio-postgres`.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::str::FromStr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Statement};

use crate::engine::{Connection, Dialect, EachRow, Row, WriteConnection};
use crate::error::Error;
use crate::sql::Sql;
use crate::value::Value;

/// Where the database is and how to reach it.
#[derive(Clone)]
pub(crate) struct Address {
    config: Config,
    tls: Option<tokio_postgres_rustls::MakeRustlsConnect>,
    runtime: Handle,
}

/// A connection; it connects on first use and again after it was lost.
pub(crate) struct PostgresConnection {
    address: Address,
    client: Option<Client>,
    /// By the address of the [`Sql`], which is a static.
    prepared: HashMap<usize, Statement>,
    /// How a reader's transaction begins, until its first statement has carried that along: a round trip less.
    unbegun: Option<&'static str>,
    /// The writer's transaction, so that its fate can be asked for after a connection that was lost in the commit.
    current: Option<Current>,
    /// Whether this connection, the writer's, keeps the database from others that open it exclusively.
    exclusive: bool,
    /// Whether the session has the lock for that; lost with the connection.
    has_lock: bool,
}

/// A transaction and the server's process that runs it, as the server numbers them.
struct Current {
    transaction: String,
    process: String,
}

/// What each session is told. A waiting lock or a forgotten transaction ends; notices stay out of the log.
/// The keepalives let the server notice that the other end is gone, and with it the locks of its session.
const SESSION: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '30s';
    SET client_min_messages = warning; SET statement_timeout = '120s'; SET default_transaction_isolation = 'read committed';
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Takes the session's lock on the whole database. Locks with two keys don't meet those with one: those of the rooms.
const LOCK_DATABASE: &str = "SELECT pg_try_advisory_lock(-2, -2)";

/// How long the lock is tried for: the session of a connection that was lost may live a little longer.
const LOCKING: Duration = Duration::from_secs(2);

/// How long the writer asks what became of a commit in which its connection was lost.
const ASKING: Duration = Duration::from_secs(15);

impl Address {
    /// Reads a `postgres://` URL; connections are driven by the current tokio runtime.
    pub(crate) fn parse(url: &str, tls: Option<rustls::ClientConfig>) -> Result<Self, Error> {
        // The error never repeats the URL: it may hold a password.
        let mut config = Config::from_str(url).map_err(|error| {
            Error::Refused(format!(
                "the database's URL cannot be read: {}",
                chain(&error)
            ))
        })?;
        config
            .application_name("starling")
            .connect_timeout(Duration::from_secs(10))
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3);
        if tls.is_none() && config.get_ssl_mode() == SslMode::Require {
            return Err(Error::Refused(
                "the database's URL asks for TLS, which is not set up here".to_owned(),
            ));
        }
        let tls = tls.map(tokio_postgres_rustls::MakeRustlsConnect::new);
        Ok(Self {
            config,
            tls,
            runtime: Handle::current(),
        })
    }

    pub(crate) fn connection(&self) -> PostgresConnection {
        PostgresConnection {
            address: self.clone(),
            client: None,
            prepared: HashMap::new(),
            unbegun: None,
            current: None,
            exclusive: false,
            has_lock: false,
        }
    }

    async fn connect(&self) -> Result<Client, Error> {
        let unavailable = |error: tokio_postgres::Error| Error::Unavailable(chain(&error));
        let client = if let Some(tls) = &self.tls {
            let (client, driver) = self
                .config
                .connect(tls.clone())
                .await
                .map_err(unavailable)?;
            self.runtime.spawn(driver);
            client
        } else {
            let (client, driver) = self.config.connect(NoTls).await.map_err(unavailable)?;
            self.runtime.spawn(driver);
            client
        };
        check_settings(&client).await?;
        client.batch_execute(SESSION).await.map_err(unavailable)?;
        Ok(client)
    }
}

/// Refuses settings under which an acknowledged write could be lost or text be changed.
async fn check_settings(client: &Client) -> Result<(), Error> {
    if setting(client, "synchronous_commit").await? == "off" {
        return Err(Error::Refused(
            "PostgreSQL's synchronous_commit is off for this connection: an acknowledged message could be lost. \
             Set it to on (in postgresql.conf, or with ALTER ROLE or ALTER DATABASE … SET synchronous_commit = on)"
                .to_owned(),
        ));
    }
    let encoding = setting(client, "server_encoding").await?;
    if encoding != "UTF8" {
        return Err(Error::Refused(format!(
            "the database's encoding is {encoding}: create it with ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    Ok(())
}

async fn setting(client: &Client, name: &str) -> Result<String, Error> {
    let unavailable = |error: tokio_postgres::Error| Error::Unavailable(chain(&error));
    let row = client
        .query_one(&format!("SHOW {name}"), &[])
        .await
        .map_err(unavailable)?;
    row.try_get(0).map_err(unavailable)
}

impl PostgresConnection {
    /// Waits for `work` on the thread that called; never on one of the runtime's own.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.address.runtime.block_on(work)
    }

    /// Connects if there is no connection, so that the next statement finds one.
    fn ensure(&mut self) -> Result<(), Error> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.prepared.clear();
            self.has_lock = false;
            self.client = Some(self.wait(self.address.connect())?);
        }
        Ok(())
    }

    /// Keeps the database, from now on, from others that open it so.
    pub(crate) fn open_exclusively(&mut self) -> Result<(), Error> {
        self.exclusive = true;
        self.ensure()?;
        if self.take_lock()? {
            return Ok(());
        }
        Err(Error::Refused(
            "another Starling is using this database: stop it first".to_owned(),
        ))
    }

    /// Takes the lock on the whole database, if this connection needs it and doesn't have it; false if somebody else
    /// has it.
    fn take_lock(&mut self) -> Result<bool, Error> {
        let started = tokio::time::Instant::now();
        while self.exclusive && !self.has_lock {
            let answer = self.first_row("lock_database", LOCK_DATABASE)?;
            self.has_lock = answer.first().is_some_and(|answer| answer == "t");
            if !self.has_lock {
                if started.elapsed() > LOCKING {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(true)
    }

    /// Runs `work`, which may take long, while no other node does the same: nodes that start at once migrate one after
    /// the other. No room has the key -1.
    pub(crate) fn alone_for_long(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.ensure()?;
        self.run(
            "migration_lock",
            "SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock(-1)",
        )?;
        let result = self
            .run("session", "SET lock_timeout = '10s'")
            .and_then(|()| work(self));
        let unlocked = self.run("migration_unlock", "SELECT pg_advisory_unlock(-1)");
        let told = self.run("session", SESSION);
        result.and(unlocked).and(told)
    }

    pub(crate) fn begin_read(&mut self) -> Result<(), Error> {
        self.ensure()?;
        self.unbegun = Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        Ok(())
    }

    /// Ends a reader's transaction, without waiting for the answer: what comes next on this connection comes after it.
    /// False if the connection is not to be used again.
    pub(crate) fn end_read(&mut self) -> bool {
        let begun = self.unbegun.take().is_none();
        match &self.client {
            Some(client) if begun && !client.is_closed() => {
                let commit = client.batch_execute("COMMIT");
                !matches!(self.wait(poll_once(commit)), Some(Err(_)))
            }
            Some(client) => !client.is_closed(),
            None => false,
        }
    }

    fn client(&self) -> Result<&Client, Error> {
        self.client
            .as_ref()
            .ok_or_else(|| Error::Unavailable("the connection was lost".to_owned()))
    }

    /// Runs statements without parameters.
    fn run(&mut self, name: &'static str, text: &str) -> Result<(), Error> {
        let result = self.wait(self.client()?.batch_execute(text));
        result.map_err(|error| self.failed(name, &error))
    }

    /// Classifies a failure, and gives a lost connection up.
    fn failed(&mut self, name: &'static str, error: &tokio_postgres::Error) -> Error {
        if is_lost(error) {
            self.client = None;
        }
        classify(name, error)
    }

    fn begin_now(&mut self) -> Result<(), Error> {
        match self.unbegun.take() {
            Some(text) => self.run("begin_read", text),
            None => Ok(()),
        }
    }

    fn statement(&mut self, sql: &'static Sql) -> Result<Statement, Error> {
        let key = std::ptr::from_ref(sql).addr();
        if let Some(statement) = self.prepared.get(&key) {
            return Ok(statement.clone());
        }
        let prepared = self.wait(self.client()?.prepare(sql.text(Dialect::Postgres)));
        let statement = prepared.map_err(|error| self.failed(sql.name(), &error))?;
        self.prepared.insert(key, statement.clone());
        Ok(statement)
    }

    /// Runs a statement, together with a reader's `BEGIN` where that is still due: the two are one round trip.
    fn rows(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        let statement = self.statement(sql)?;
        let params: Vec<Parameter<'_>> = params.iter().map(Parameter).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params
            .iter()
            .map(|param| param as &(dyn ToSql + Sync))
            .collect();
        let begin = self.unbegun.take();
        let client = self.client()?;
        let rows = self.wait(async {
            let Some(begin) = begin else { return client.query(&statement, &params).await };
            let (opened, rows) = tokio::join!(biased; client.batch_execute(begin), client.query(&statement, &params));
            opened.and(rows)
        });
        rows.map_err(|error| self.failed(sql.name(), &error))
    }

    /// Asks what became of the writer's transaction, whose connection was lost in the commit.
    fn was_committed(&mut self, current: &Current) -> Result<bool, Error> {
        // Whatever that process still does, it ends; then the answer is final.
        let stop = format!("SELECT pg_terminate_backend({})", current.process);
        let ask = format!("SELECT pg_xact_status('{}')", current.transaction);
        self.ensure()?;
        self.run("stop_commit", &stop)?;
        match self
            .first_row("ask_commit", &ask)?
            .first()
            .map(String::as_str)
        {
            Some("committed") => Ok(true),
            Some("aborted") => Ok(false),
            _ => Err(Error::Unavailable(
                "the transaction is still running".to_owned(),
            )),
        }
    }

    /// The first row that a script without parameters returns, as texts.
    fn first_row(&mut self, name: &'static str, text: &str) -> Result<Vec<String>, Error> {
        let answer = self
            .wait(self.client()?.simple_query(text))
            .map_err(|error| self.failed(name, &error))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let texts = row.map(|row| {
            (0..row.len())
                .filter_map(|column| row.get(column))
                .map(str::to_owned)
                .collect()
        });
        Ok(texts.unwrap_or_default())
    }

    fn try_begin(&mut self, relaxed: bool) -> Result<(), Error> {
        self.ensure()?;
        if !self.take_lock()? {
            return Err(Error::Unavailable(
                "the connection was lost, and another Starling is using this database now"
                    .to_owned(),
            ));
        }
        let text = if relaxed {
            "BEGIN; SET LOCAL synchronous_commit = off; SELECT pg_current_xact_id(), pg_backend_pid()"
        } else {
            "BEGIN; SELECT pg_current_xact_id(), pg_backend_pid()"
        };
        let mut texts = self.first_row("begin", text)?.into_iter();
        if let (Some(transaction), Some(process)) = (texts.next(), texts.next()) {
            self.current = Some(Current {
                transaction,
                process,
            });
        }
        Ok(())
    }
}

/// Polls `work` once, which sends its request; its answer, if there is one already.
async fn poll_once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

impl Connection for PostgresConnection {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn execute(&mut self, sql: &'static Sql, params: &[Value<'_>]) -> Result<u64, Error> {
        if self.unbegun.is_some() {
            // A reader changes nothing: the transaction must be there to refuse it.
            self.begin_now()?;
        }
        let statement = self.statement(sql)?;
        let changed = self.wait(
            self.client()?
                .execute_raw(&statement, params.iter().map(Parameter)),
        );
        changed.map_err(|error| self.failed(sql.name(), &error))
    }

    fn query(
        &mut self,
        sql: &'static Sql,
        params: &[Value<'_>],
        each: &mut EachRow<'_>,
    ) -> Result<(), Error> {
        let unbegun = self.unbegun;
        let rows = match self.rows(sql, params) {
            // An idle connection may have been lost long ago. Nothing of the transaction has happened yet.
            Err(Error::Unavailable(_)) if unbegun.is_some() => {
                self.ensure()?;
                self.unbegun = unbegun;
                self.rows(sql, params)?
            }
            rows => rows?,
        };
        rows.iter().try_for_each(|row| {
            each(&PostgresRow {
                row,
                name: sql.name(),
            })
        })
    }

    fn prepare(&mut self, sql: &'static Sql) -> Result<(), Error> {
        self.statement(sql).map(drop)
    }

    fn script(&mut self, name: &'static str, text: &str) -> Result<(), Error> {
        self.run(name, text)
    }
}

impl WriteConnection for PostgresConnection {
    fn begin(&mut self, relaxed: bool) -> Result<(), Error> {
        self.current = None;
        let had_connection = self.client.is_some();
        match self.try_begin(relaxed) {
            // An idle connection may have been lost long ago; a fresh one that fails is news.
            Err(Error::Unavailable(_)) if had_connection && self.client.is_none() => {
                self.try_begin(relaxed)
            }
            result => result,
        }
    }

    fn commit(&mut self) -> Result<(), Error> {
        // In a transaction in which a statement failed, COMMIT would quietly roll back; the SELECT says so.
        let result = self.wait(self.client()?.batch_execute("SELECT 1; COMMIT"));
        let Err(error) = result else { return Ok(()) };
        let lost = is_lost(&error);
        // It also gives the lost connection up.
        drop(self.failed("commit", &error));
        if !lost {
            return Err(Error::Commit(source(&error)));
        }
        let Some(current) = self.current.take() else {
            return Err(Error::Uncertain(source(&error)));
        };
        let started = tokio::time::Instant::now();
        loop {
            match self.was_committed(&current) {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Error::Commit(source(&error))),
                Err(_) if started.elapsed() < ASKING => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(_) => {
                    tracing::error!(
                        "the connection to PostgreSQL was lost in a commit, whose outcome isn't known"
                    );
                    return Err(Error::Uncertain(source(&error)));
                }
            }
        }
    }

    fn rollback(&mut self) -> Result<(), Error> {
        match &self.client {
            Some(client) if !client.is_closed() => match self.run("rollback", "ROLLBACK") {
                // A lost connection takes its transaction with it.
                Err(Error::Unavailable(_)) => Ok(()),
                result => result,
            },
            _ => Ok(()),
        }
    }

    fn savepoint(&mut self) -> Result<(), Error> {
        self.run("savepoint", "SAVEPOINT body")
    }

    fn release(&mut self) -> Result<(), Error> {
        self.run("release", "RELEASE SAVEPOINT body")
    }

    fn rollback_to_savepoint(&mut self) -> Result<(), Error> {
        self.run("rollback_to", "ROLLBACK TO SAVEPOINT body")
    }

    fn lock(&mut self, keys: &[i64]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        self.query(&LOCK, &[Value::Ints(keys)], &mut |_| Ok(()))
    }

    fn head_for_update(&mut self) -> Result<i64, Error> {
        let mut head = None;
        self.query(&HEAD_FOR_UPDATE, &[], &mut |row| {
            head = Some(row.int(0)?);
            Ok(())
        })?;
        head.ok_or_else(|| Error::Damaged("log_head has no row".to_owned()))
    }
}

// PostgreSQL alone has several writers (one per node), hence these two have no counterpart for SQLite. Advisory locks
// stand for the rooms' rows: they also cover a room that is being created.
static LOCK: Sql = Sql::new(
    "LOCK",
    "SELECT count(pg_advisory_xact_lock(key)) FROM (SELECT unnest(?1::BIGINT[]) AS key) AS keys",
);
static HEAD_FOR_UPDATE: Sql = Sql::new(
    "HEAD_FOR_UPDATE",
    "SELECT position FROM log_head WHERE id = 1 FOR UPDATE",
);

#[derive(Debug)]
struct Parameter<'a>(&'a Value<'a>);

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        // The types must agree exactly: the bytes of one, read as another, could pass for a wrong value.
        match *self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) if *ty == Type::INT8 => number.to_sql(ty, out),
            Value::Int(number) if *ty == Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
            Value::Text(text) if *ty == Type::TEXT => text.to_sql(ty, out),
            Value::Bytes(bytes) if *ty == Type::BYTEA => bytes.to_sql(ty, out),
            Value::Ints(values) if *ty == Type::INT8_ARRAY => values.to_sql(ty, out),
            Value::Texts(values) if *ty == Type::TEXT_ARRAY => values.to_sql(ty, out),
            Value::Blobs(values) if *ty == Type::BYTEA_ARRAY => values.to_sql(ty, out),
            _ => Err(format!("the statement wants {ty}, which the given value isn't").into()),
        }
    }

    fn accepts(_ty: &Type) -> bool {
        // `to_sql` refuses what doesn't fit.
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// Whether the connection is of no more use: closed, or ended by the server with its last words.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let severity = error
        .as_db_error()
        .and_then(tokio_postgres::error::DbError::parsed_severity);
    let ended = matches!(severity, Some(Severity::Fatal | Severity::Panic));
    let broken =
        std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    error.is_closed() || ended || broken
}

fn classify(statement: &'static str, error: &tokio_postgres::Error) -> Error {
    if is_lost(error) {
        return Error::Unavailable(format!(
            "the connection was lost in {statement}: {}",
            source(error)
        ));
    }
    let source = source(error);
    match error.code() {
        Some(code) if code.code().starts_with("23") => Error::Constraint { statement, source },
        Some(code) if CONFLICTS.contains(&code) => Error::Conflict { statement, source },
        _ => Error::Statement { statement, source },
    }
}

const CONFLICTS: [&SqlState; 3] = [
    &SqlState::T_R_SERIALIZATION_FAILURE,
    &SqlState::T_R_DEADLOCK_DETECTED,
    &SqlState::LOCK_NOT_AVAILABLE,
];

/// What the server said, without its DETAIL, which repeats values from the tables.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

fn source(error: &tokio_postgres::Error) -> crate::error::EngineError {
    Arc::new(Said(match error.as_db_error() {
        Some(said) => format!(
            "{}: {} ({})",
            said.severity(),
            said.message(),
            said.code().code()
        ),
        None => chain(error),
    }))
}

/// The error and its causes in one line; the client library's own text names none of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

struct PostgresRow<'a> {
    row: &'a tokio_postgres::Row,
    name: &'static str,
}

impl PostgresRow<'_> {
    fn wrong(&self, column: usize, wanted: &'static str) -> Error {
        Error::Column {
            statement: self.name,
            column,
            wanted,
        }
    }
}

impl Row for PostgresRow<'_> {
    fn opt_int(&self, column: usize) -> Result<Option<i64>, Error> {
        let is_int4 = self
            .row
            .columns()
            .get(column)
            .is_some_and(|column| *column.type_() == Type::INT4);
        if is_int4 {
            let number: Result<Option<i32>, _> = self.row.try_get(column);
            return number
                .map(|number| number.map(i64::from))
                .map_err(|_| self.wrong(column, "an integer"));
        }
        self.row
            .try_get(column)
            .map_err(|_| self.wrong(column, "an integer"))
    }

    fn opt_text(&self, column: usize) -> Result<Option<&str>, Error> {
        self.row
            .try_get(column)
            .map_err(|_| self.wrong(column, "a text"))
    }

    fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, Error> {
        self.row
            .try_get(column)
            .map_err(|_| self.wrong(column, "bytes"))
    }

    fn statement(&self) -> &'static str {
        self.name
    }
}
