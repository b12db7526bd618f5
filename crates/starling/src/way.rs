//! How commands reach the accounts: through the socket of the server that runs, otherwise in the database itself.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use starling_config::{Config, DatabaseUrl};

use crate::configuration::Configuration;
use crate::control::{Answer, CallError, Request, call};
use crate::data_dir::{DataDir, LockError};
use crate::failure::Failure;
use crate::open;

/// Tries to reach whoever has the data folder: a server that starts has locked it before it listens.
const TRIES: u32 = 100;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// How the accounts are reached.
pub(crate) enum Way<'a> {
    /// By the socket in this data folder.
    Socket(&'a Path),
    /// By the database, which is ours meanwhile.
    Database(Box<Offline>),
}

pub(crate) struct Offline {
    runtime: tokio::runtime::Runtime,
    opened: open::Opened,
    /// Released last.
    _data_dir: DataDir,
}

impl<'a> Way<'a> {
    pub(crate) fn find(configuration: &'a Configuration) -> Result<Self, Failure> {
        let config = &configuration.config;
        check_started(config)?;
        let way = Self::try_find(config)?;
        if configuration.is_development() {
            let folder = config.data_dir.display();
            // Who asked may have closed standard error.
            writeln!(
                std::io::stderr(),
                "starling: without --config, the data in {folder} is used"
            )
            .ok();
        }
        Ok(way)
    }

    fn try_find(config: &'a Config) -> Result<Self, Failure> {
        let mut holder = String::new();
        for _ in 0..TRIES {
            match DataDir::lock(&config.data_dir) {
                Ok(data_dir) => {
                    check_database(config)?;
                    return Ok(Self::Database(Box::new(Offline::open(config, data_dir)?)));
                }
                Err(LockError::Failed(failure)) => return Err(failure),
                Err(LockError::Held(who)) => holder = who,
            }
            // A list of nobody changes nothing.
            match call(&config.data_dir, &Request::List { after: i64::MAX }) {
                Ok(_) => return Ok(Self::Socket(&config.data_dir)),
                Err(CallError::NobodyListens(_)) => std::thread::sleep(PAUSE),
                Err(error) => return Err(Failure::of(format!("cannot talk to {holder}"), &error)),
            }
        }
        let folder = config.data_dir.display();
        Err(Failure::new(format!(
            "{folder} is in use by {holder}, which doesn't answer on its socket"
        )))
    }

    pub(crate) fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let answer = match self {
            Self::Socket(data_dir) => call(data_dir, &request)
                .map_err(|error| Failure::of("cannot talk to the server that runs", &error))?,
            Self::Database(offline) => offline
                .runtime
                .block_on(offline.opened.users.perform(request)),
        };
        match answer {
            Answer::Refused { reason } => Err(Failure::new(reason)),
            answer => Ok(answer),
        }
    }

    pub(crate) fn close(self) {
        if let Self::Database(offline) = self {
            offline.close();
        }
    }
}

/// Refuses a folder that no server has started in, before anything is made there or a password is asked for.
pub(crate) fn check_started(config: &Config) -> Result<(), Failure> {
    if config.data_dir.exists() {
        // Whether there is a database is known once nobody is about to make it.
        return Ok(());
    }
    check_database(config)
}

/// Refuses a database that there is not: a command for accounts makes none.
fn check_database(config: &Config) -> Result<(), Failure> {
    match &config.database.url {
        DatabaseUrl::Sqlite(path) if !path.exists() => Err(Failure::new(format!(
            "there is no database {}; name the server's configuration with --config FILE, or start the server once to make it",
            path.display()
        ))),
        DatabaseUrl::Sqlite(_) | DatabaseUrl::Postgres(_) => Ok(()),
    }
}

impl Offline {
    /// The database of a server that doesn't run, and doesn't begin to as long as this value lives.
    pub(crate) fn alone(config: &Config) -> Result<Self, Failure> {
        Self::alone_if(config, |_| Ok(()))
    }

    /// As [`Self::alone`], if `check` has nothing against the database as it lies there: to open it changes it.
    pub(crate) fn alone_if(
        config: &Config,
        check: impl FnOnce(&Config) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        check_started(config)?;
        let data_dir = DataDir::lock(&config.data_dir).map_err(|error| match error {
            LockError::Failed(failure) => failure,
            LockError::Held(holder) => Failure::new(format!(
                "the server runs ({holder}): stop it first, and start it again afterwards"
            )),
        })?;
        check_database(config)?;
        check(config)?;
        Self::open(config, data_dir)
    }

    /// What was opened.
    pub(crate) fn opened(&self) -> &open::Opened {
        &self.opened
    }

    /// Runs something to its end.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Closes the database.
    pub(crate) fn close(self) {
        self.runtime.block_on(self.opened.store.db().close());
    }

    fn open(config: &Config, data_dir: DataDir) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::of("cannot start the runtime", &error))?;
        let opened = runtime.block_on(open::open(config))?;
        Ok(Self {
            runtime,
            opened,
            _data_dir: data_dir,
        })
    }
}
