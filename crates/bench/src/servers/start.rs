//! Starts the servers that are measured, each with a fresh database, and ends them.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rusqlite::{Connection as Sqlite, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Error;
use super::http::Connection;
use super::postgres::{Cluster, Database};
use super::processes::Processes;
use super::target::Target;
use crate::resident::authority::{ADDRESS, Authority};

/// How long a server may take to answer for the first time. Synapse makes its tables then.
const START_PATIENCE: Duration = Duration::from_mins(3);
/// How long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(20);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Prints what is measured as Synapse, in Python.
const SYNAPSE_VERSION: &str = "import platform, sqlite3
from importlib.metadata import version
print(version('matrix-synapse') + ', Python', platform.python_version() + ', SQLite', sqlite3.sqlite_version)";
/// How much of a log is shown when a server didn't start.
const LOG_LINES: usize = 20;

/// A server that was started here. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// How it is reached.
    pub target: Target,
    /// The version of the program, and of what is beneath it.
    pub version: String,
    kind: Kind,
    command: Command,
    child: Child,
    folder: TempDir,
    database: Option<Database>,
}

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Starling,
    Floor,
    Synapse,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Starling => "Starling",
            Self::Floor => "floor",
            Self::Synapse => "Synapse",
        }
    }

    /// The mean length of the last events' JSON in its database.
    fn json_length(self) -> &'static str {
        match self {
            Self::Starling => {
                "SELECT CAST(avg(length(json)) AS DOUBLE PRECISION)
                 FROM (SELECT json FROM events ORDER BY event_num DESC LIMIT 1000) AS last"
            }
            Self::Floor => {
                "SELECT avg(length(json))
                 FROM (SELECT json FROM events ORDER BY position DESC LIMIT 1000)"
            }
            Self::Synapse => {
                "SELECT CAST(avg(length(json)) AS DOUBLE PRECISION)
                 FROM (SELECT json FROM event_json NATURAL JOIN events
                       ORDER BY stream_ordering DESC LIMIT 1000) AS last"
            }
        }
    }
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Our server.
    pub starling: PathBuf,
    /// A Python that has Synapse.
    pub synapse_python: PathBuf,
    /// Whom servers trust, and who certifies them.
    pub authority: Arc<Authority>,
}

impl Server {
    /// Our server, on SQLite or on a database of this cluster.
    ///
    /// # Errors
    /// When it doesn't start.
    pub async fn starling(programs: &Programs, cluster: Option<&Cluster>) -> Result<Self, Error> {
        let place = Place::new(Kind::Starling, cluster).await?;
        let data = place.data();
        let url = match &place.database {
            Some(database) => database.url(),
            None => format!("sqlite:{}", data.join("starling.db").display()),
        };
        let config = place.folder.path().join("starling.toml");
        let text = format!(
            "server_name = \"{name}\"\ndata_dir = '{data}'\n[database]\nurl = '{url}'\n\
             [[listeners]]\naddress = \"{}\"\nserves = [\"client\"]\n\
             [[listeners]]\naddress = \"{name}\"\nserves = [\"federation\"]\n\
             tls = {{ certificate = '{certificate}', key = '{key}' }}\n\
             [outbound]\nextra_ca_files = ['{authority}']\nallow_private_addresses = true\n\
             [registration]\nmode = \"open\"\n[rate_limits]\nenabled = false\n",
            place.address,
            name = place.federation,
            data = data.display(),
            certificate = programs.authority.certificate().display(),
            key = programs.authority.key().display(),
            authority = programs.authority.file().display(),
        );
        fs::write(&config, text)?;
        let mut command = Command::new(&programs.starling);
        command.arg("serve").arg("--config").arg(&config);
        let mut version = Command::new(&programs.starling);
        let version = output_of(version.arg("version"))?;
        place.start(command, version).await
    }

    /// Synapse as its documentation sets it up, without limits of rate and without presence, on SQLite or on a database
    /// of this cluster.
    ///
    /// # Errors
    /// When it doesn't start.
    pub async fn synapse(programs: &Programs, cluster: Option<&Cluster>) -> Result<Self, Error> {
        let place = Place::new(Kind::Synapse, cluster).await?;
        let config = place.folder.path().join("homeserver.yaml");
        fs::write(&config, synapse_configuration(&place, &programs.authority))?;
        fs::write(
            place.folder.path().join("log.yaml"),
            "version: 1\nhandlers: {console: {class: logging.StreamHandler}}\n\
             root: {level: WARNING, handlers: [console]}\ndisable_existing_loggers: false\n",
        )?;
        let run = || {
            let mut command = Command::new(&programs.synapse_python);
            command.args(["-m", "synapse.app.homeserver", "--config-path"]);
            command.arg(&config).current_dir(place.folder.path());
            command
        };
        let mut keys = run();
        keys.arg("--generate-keys").stdout(Stdio::null());
        if !keys.status()?.success() {
            return Err(Error::Start("Synapse makes no key".to_owned()));
        }
        let command = run();
        let mut version = Command::new(&programs.synapse_python);
        let version = output_of(version.args(["-c", SYNAPSE_VERSION]))?;
        place.start(command, version).await
    }

    /// The floor: this program.
    ///
    /// # Errors
    /// When it doesn't start.
    pub async fn floor() -> Result<Self, Error> {
        let place = Place::new(Kind::Floor, None).await?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").arg("--data").arg(place.data());
        command.arg("--address").arg(place.address.to_string());
        let version = format!("SQLite {}", rusqlite::version());
        place.start(command, version).await
    }

    /// Whether it is the floor, which knows no state and no past.
    #[must_use]
    pub fn is_floor(&self) -> bool {
        self.kind == Kind::Floor
    }

    /// Ends it and starts it again with its data. The floor goes on: it forgets everything.
    ///
    /// # Errors
    /// When it doesn't start.
    pub async fn restart(&mut self) -> Result<(), Error> {
        if self.kind == Kind::Floor {
            return Ok(());
        }
        end(&mut self.child);
        self.child = self.command.spawn()?;
        self.target.processes = Some(Processes::of(vec![self.child.id()]));
        wait_until_ready(self).await
    }

    /// How long its last events are on average as JSON, as servers exchange them, in bytes.
    ///
    /// # Errors
    /// When its database cannot be read.
    pub async fn json_bytes(&self) -> Result<Option<f64>, Error> {
        let query = self.kind.json_length();
        if let Some(database) = &self.database {
            return database.number(query).await.map(Some);
        }
        number_of_sqlite(&data_of(&self.folder), query)
    }

    /// What its database takes on the disk now, in bytes.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn disk_bytes(&self) -> Result<u64, Error> {
        match &self.database {
            Some(database) => database.bytes().await,
            None => Ok(size_of(&data_of(&self.folder))?),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What a server is started with.
struct Place {
    kind: Kind,
    name: String,
    folder: TempDir,
    address: SocketAddr,
    federation: SocketAddr,
    database: Option<Database>,
    database_processes: Option<Processes>,
}

impl Place {
    async fn new(kind: Kind, cluster: Option<&Cluster>) -> Result<Self, Error> {
        let name = kind.name();
        let folder = TempDir::with_prefix("starling-bench.")?;
        fs::create_dir(data_of(&folder))?;
        // Free now; nobody else is expected to take it before the server does.
        let free = || TcpListener::bind((ADDRESS, 0))?.local_addr();
        let (address, federation) = (free()?, free()?);
        let (name, database) = match cluster {
            Some(cluster) => (
                format!("{name}, PostgreSQL"),
                Some(cluster.create(&name.to_lowercase()).await?),
            ),
            None if kind == Kind::Floor => (name.to_owned(), None),
            None => (format!("{name}, SQLite"), None),
        };
        Ok(Self {
            kind,
            name,
            folder,
            address,
            federation,
            database,
            database_processes: cluster.map(|cluster| cluster.processes.clone()),
        })
    }

    fn data(&self) -> PathBuf {
        data_of(&self.folder)
    }

    async fn start(self, mut command: Command, version: String) -> Result<Server, Error> {
        let file = File::create(log_of(&self.folder))?;
        command.stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn()?;
        let mut server = Server {
            target: Target {
                name: self.name,
                address: self.address,
                registration_token: None,
                processes: Some(Processes::of(vec![child.id()])),
                database: self.database_processes,
                federation: (self.kind != Kind::Floor).then_some(self.federation),
            },
            version,
            kind: self.kind,
            command,
            child,
            folder: self.folder,
            database: self.database,
        };
        wait_until_ready(&mut server).await?;
        Ok(server)
    }
}

/// The number that a query gives of the SQLite database in a folder; `None` where the folder has no database, or the query
/// no number.
fn number_of_sqlite(folder: &Path, query: &str) -> Result<Option<f64>, Error> {
    let path = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.extension()
                .is_some_and(|end| end == "db" || end == "sqlite")
        });
    let Some(path) = path else { return Ok(None) };
    let sqlite = Sqlite::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    Ok(sqlite.query_row(query, (), |row| row.get(0))?)
}

fn data_of(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

fn log_of(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

/// What a program prints, on one line.
fn output_of(command: &mut Command) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

async fn wait_until_ready(server: &mut Server) -> Result<(), Error> {
    let mut connection = Connection::new(server.target.address, "");
    let begun = Instant::now();
    loop {
        let path = "/_matrix/client/versions";
        let answer = connection.request(&Method::GET, path, None, None).await;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
        if server.child.try_wait()?.is_some() || begun.elapsed() > START_PATIENCE {
            let log = fs::read_to_string(log_of(&server.folder)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(LOG_LINES);
            let tail = lines.get(last..).unwrap_or_default().join("\n");
            return Err(Error::Start(format!("{}:\n{tail}", server.target.name)));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It fails for one that has ended.
        kill_process(pid, Signal::TERM).ok();
    }
    let looks = END_PATIENCE.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    child.kill().and_then(|()| child.wait()).ok();
}

fn size_of(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            size_of(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

/// Limits of rate are off, as for the others. So is presence, as its documentation advises. Everything else is the default,
/// and PostgreSQL as in the documentation of Synapse.
fn synapse_configuration(place: &Place, authority: &Authority) -> String {
    let data = place.data();
    let database = match &place.database {
        None => format!(
            "{{name: sqlite3, args: {{database: '{}'}}}}",
            data.join("homeserver.db").display()
        ),
        Some(database) => format!(
            "{{name: psycopg2, args: {{user: {:?}, dbname: {:?}, host: {:?}, cp_min: 5, cp_max: 10}}}}",
            database.user, database.name, database.host
        ),
    };
    let unlimited = "{per_second: 1000000, burst_count: 1000000}";
    let by = |names: &[&str]| {
        let limits: Vec<String> = names
            .iter()
            .map(|name| format!("{name}: {unlimited}"))
            .collect();
        format!("{{{}}}", limits.join(", "))
    };
    format!(
        "server_name: '{name}'\n\
         report_stats: false\n\
         pid_file: '{pid}'\n\
         signing_key_path: '{key}'\n\
         log_config: '{log}'\n\
         media_store_path: '{media}'\n\
         macaroon_secret_key: only-for-a-benchmark\n\
         form_secret: only-for-a-benchmark\n\
         listeners: [{{port: {port}, type: http, tls: false, bind_addresses: [127.0.0.1], \
                       resources: [{{names: [client]}}]}}, \
                      {{port: {federation}, type: http, tls: true, bind_addresses: ['{address}'], \
                       resources: [{{names: [federation]}}]}}]\n\
         tls_certificate_path: '{certificate}'\n\
         tls_private_key_path: '{certificate_key}'\n\
         federation_custom_ca_list: ['{trusted}']\n\
         federation_ip_range_blacklist: []\n\
         ip_range_blacklist: []\n\
         rc_federation: {{sleep_limit: 1000000, reject_limit: 1000000, concurrent: 100}}\n\
         database: {database}\n\
         trusted_key_servers: []\n\
         presence: {{enabled: false}}\n\
         enable_registration: true\n\
         enable_registration_without_verification: true\n\
         login_via_existing_session: {{enabled: true, require_ui_auth: false}}\n\
         rc_message: {unlimited}\n\
         rc_registration: {unlimited}\n\
         rc_room_creation: {unlimited}\n\
         rc_joins_per_room: {unlimited}\n\
         rc_login: {login}\n\
         rc_joins: {joins}\n",
        pid = place.folder.path().join("pid").display(),
        key = data.join("signing.key").display(),
        log = place.folder.path().join("log.yaml").display(),
        media = data.join("media").display(),
        port = place.address.port(),
        name = place.federation,
        address = place.federation.ip(),
        federation = place.federation.port(),
        certificate = authority.certificate().display(),
        certificate_key = authority.key().display(),
        trusted = authority.file().display(),
        login = by(&["address", "account", "failed_attempts"]),
        joins = by(&["local", "remote"]),
    )
}

#[cfg(test)]
mod tests {
    use super::{Kind, Sqlite, TempDir, number_of_sqlite};

    /// What each program's tables are to the query, and how its events are put there in order.
    #[test]
    fn the_json_of_the_last_thousand_events_is_measured() {
        let tables = [
            (
                Kind::Starling,
                "CREATE TABLE events (event_num INTEGER, json TEXT)",
                "INSERT INTO events VALUES (?1, ?2)",
            ),
            (
                Kind::Floor,
                "CREATE TABLE events (position INTEGER, json TEXT)",
                "INSERT INTO events VALUES (?1, ?2)",
            ),
            (
                Kind::Synapse,
                "CREATE TABLE events (event_id INTEGER, stream_ordering INTEGER);
                 CREATE TABLE event_json (event_id INTEGER, json TEXT);
                 CREATE TRIGGER both AFTER INSERT ON event_json BEGIN
                     INSERT INTO events VALUES (new.event_id, new.event_id);
                 END",
                "INSERT INTO event_json VALUES (?1, ?2)",
            ),
        ];
        for (kind, table, insert) in tables {
            let folder = TempDir::new().unwrap();
            let number = || number_of_sqlite(folder.path(), kind.json_length());
            assert_eq!(number().unwrap(), None, "no database");
            let database = Sqlite::open(folder.path().join("a.db")).unwrap();
            database.execute_batch(table).unwrap();
            assert_eq!(number().unwrap(), None, "no events");
            // Five hundred that are long and don't count, then a thousand of 10 and 20 bytes.
            database.execute_batch("BEGIN").unwrap();
            for event in 0..1500 {
                let length = match event {
                    0..500 => 1000,
                    _ => 10 + 10 * (event % 2),
                };
                let json = "x".repeat(length);
                database.execute(insert, (event, json)).unwrap();
            }
            database.execute_batch("COMMIT").unwrap();
            assert_eq!(number().unwrap(), Some(15.0), "{kind:?}");
        }
    }
}
