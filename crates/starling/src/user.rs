//! `starling user …`: through the socket of the server that runs, otherwise on the database itself.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use ruma_common::OwnedServerName;
use starling_accounts::{
    Account, AccountKind, Accounts, KeepSession, NewAccount, RegisterError, SetPasswordError,
};
use starling_config::{Config, DatabaseUrl};
use starling_store::UserNum;

use crate::cli::print;
use crate::configuration::Configuration;
use crate::control::{Answer, CallError, ListedAccount, Request, call};
use crate::data_dir::{DataDir, LockError};
use crate::failure::Failure;
use crate::{open, passwords};

/// Accounts in one page of the list.
const PAGE: u32 = 1_000;

/// Tries to reach whoever has the data folder: a server that starts has locked it before it listens.
const TRIES: u32 = 100;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// `starling user create`.
pub(crate) fn create(
    configuration: &Configuration,
    name: String,
    file: Option<&Path>,
    admin: bool,
) -> Result<(), Failure> {
    check_started(&configuration.config)?;
    let password = passwords::read(file)?;
    change(
        configuration,
        Request::Create {
            name,
            password,
            admin,
        },
        "created",
    )
}

/// `starling user set-password`.
pub(crate) fn set_password(
    configuration: &Configuration,
    name: String,
    file: Option<&Path>,
) -> Result<(), Failure> {
    check_started(&configuration.config)?;
    let password = passwords::read(file)?;
    change(
        configuration,
        Request::SetPassword { name, password },
        "has a new password, and all sessions have ended",
    )
}

/// `starling user deactivate`.
pub(crate) fn deactivate(configuration: &Configuration, name: String) -> Result<(), Failure> {
    change(
        configuration,
        Request::Deactivate { name },
        "is deactivated",
    )
}

/// `starling user list`.
pub(crate) fn list(configuration: &Configuration) -> Result<(), Failure> {
    let way = Way::find(configuration)?;
    let mut after = Some(0);
    while let Some(from) = after {
        let Answer::Accounts { accounts, next } = way.ask(Request::List { after: from })? else {
            return Err(Failure::new("the server gave no list"));
        };
        let line = |account: &ListedAccount| {
            format!("{}\t{}\t{}\n", account.user_id, account.kind, account.state)
        };
        if !accounts.is_empty() {
            print(accounts.iter().map(line).collect::<String>())?;
        }
        after = next;
    }
    way.close();
    Ok(())
}

fn change(configuration: &Configuration, request: Request, done: &str) -> Result<(), Failure> {
    let way = Way::find(configuration)?;
    let answer = way.ask(request)?;
    way.close();
    match answer {
        Answer::Done { user_id } => print(format!("{user_id} {done}")),
        _ => Err(Failure::new("the server gave no answer that fits")),
    }
}

/// How the accounts are reached.
enum Way<'a> {
    /// By the socket in this data folder.
    Socket(&'a Path),
    /// By the database, which is ours meanwhile.
    Database(Box<Offline>),
}

struct Offline {
    runtime: tokio::runtime::Runtime,
    opened: open::Opened,
    /// Released last.
    _data_dir: DataDir,
}

impl<'a> Way<'a> {
    fn find(configuration: &'a Configuration) -> Result<Self, Failure> {
        let config = &configuration.config;
        check_started(config)?;
        let way = Self::try_find(config)?;
        if configuration.is_development {
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

    fn ask(&self, request: Request) -> Result<Answer, Failure> {
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

    fn close(self) {
        if let Self::Database(offline) = self {
            offline.runtime.block_on(offline.opened.store.db().close());
        }
    }
}

/// Refuses a folder that no server has started in, before anything is made there or a password is asked for.
fn check_started(config: &Config) -> Result<(), Failure> {
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

/// The accounts of this server, as the `user` commands see them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    pub(crate) accounts: Accounts,
    pub(crate) server_name: OwnedServerName,
}

impl Users {
    /// Does what was asked for, here or by whoever is at the other end of the socket.
    pub(crate) async fn perform(&self, request: Request) -> Answer {
        let done = match request {
            Request::Create {
                name,
                password,
                admin,
            } => self.create(&name, password, admin).await,
            Request::List { after } => self.page(UserNum(after)).await,
            Request::SetPassword { name, password } => self.set_password(&name, password).await,
            Request::Deactivate { name } => self.deactivate(&name).await,
        };
        done.unwrap_or_else(|failure| Answer::Refused {
            reason: failure.line().to_owned(),
        })
    }

    async fn create(
        &self,
        name: &str,
        password: String,
        is_admin: bool,
    ) -> Result<Answer, Failure> {
        let localpart = match name.strip_prefix('@') {
            None => name,
            Some(rest) => match rest.split_once(':') {
                Some((localpart, server)) if server == self.server_name.as_str() => localpart,
                _ => {
                    return Err(Failure::new(format!(
                        "{name} is no user id of {}",
                        self.server_name
                    )));
                }
            },
        };
        let new = NewAccount {
            localpart: Some(localpart.to_owned()),
            password: Some(password),
            kind: AccountKind::User,
            is_admin,
            device: None,
        };
        match self.accounts.register(new).await {
            Ok(registered) => Ok(Answer::Done {
                user_id: registered.user_id.into(),
            }),
            Err(RegisterError::Database(error)) => Err(database(&error)),
            Err(error) => Err(Failure::of(format!("cannot create {name}"), &error)),
        }
    }

    async fn page(&self, after: UserNum) -> Result<Answer, Failure> {
        let page = self
            .accounts
            .list(after, PAGE)
            .await
            .map_err(|error| database(&error))?;
        let is_full = u32::try_from(page.len()).is_ok_and(|length| length == PAGE);
        let next = page
            .last()
            .filter(|_| is_full)
            .map(|account| account.user.0);
        Ok(Answer::Accounts {
            accounts: page.iter().map(listed).collect(),
            next,
        })
    }

    async fn set_password(&self, name: &str, password: String) -> Result<Answer, Failure> {
        let account = self.find(name).await?;
        match self
            .accounts
            .set_password(account.user, password, KeepSession::None)
            .await
        {
            Ok(true) => Ok(Answer::Done {
                user_id: account.user_id.into(),
            }),
            Ok(false) => Err(deactivated(&account)),
            Err(SetPasswordError::Database(error)) => Err(database(&error)),
            Err(error) => Err(Failure::of(
                format!("cannot set the password of {name}"),
                &error,
            )),
        }
    }

    async fn deactivate(&self, name: &str) -> Result<Answer, Failure> {
        let account = self.find(name).await?;
        match self.accounts.deactivate(account.user).await {
            Ok(true) => Ok(Answer::Done {
                user_id: account.user_id.into(),
            }),
            Ok(false) => Err(deactivated(&account)),
            Err(error) => Err(database(&error)),
        }
    }

    async fn find(&self, name: &str) -> Result<Account, Failure> {
        let found = self
            .accounts
            .find(name)
            .await
            .map_err(|error| database(&error))?;
        found.ok_or_else(|| Failure::new(format!("there is no account {name}")))
    }
}

fn listed(account: &Account) -> ListedAccount {
    let kind = match (account.kind, account.is_admin) {
        (AccountKind::Guest, _) => "guest",
        (AccountKind::User, true) => "admin",
        (AccountKind::User, false) => "user",
    };
    let state = if account.deactivated_at.is_some() {
        "deactivated"
    } else {
        "active"
    };
    ListedAccount {
        user_id: account.user_id.to_string(),
        kind: kind.to_owned(),
        state: state.to_owned(),
    }
}

fn deactivated(account: &Account) -> Failure {
    Failure::new(format!("{} is deactivated", account.user_id))
}

fn database(error: &starling_db::Error) -> Failure {
    Failure::of("the database failed", error)
}
