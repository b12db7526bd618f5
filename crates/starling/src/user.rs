//! `starling user …`, and what all commands ask of the accounts.

use std::path::Path;

use ruma_common::OwnedServerName;
use starling_accounts::{
    Account, AccountKind, Accounts, KeepSession, NewAccount, RegisterError, SetPasswordError,
};
use starling_runtime::Clock;
use starling_store::{Store, UserNum};

use crate::cli::print;
use crate::configuration::Configuration;
use crate::control::{Answer, ListedAccount, Request};
use crate::failure::Failure;
use crate::way::{Way, check_started};
use crate::{passwords, report, room, token};

/// Accounts in one page of the list.
const PAGE: u32 = 1_000;

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
pub(crate) fn deactivate(
    configuration: &Configuration,
    name: String,
    erase: bool,
) -> Result<(), Failure> {
    change(
        configuration,
        Request::Deactivate { name, erase },
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

/// The accounts of this server and what else there is, as commands see it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    pub(crate) accounts: Accounts,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
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
            Request::Deactivate { name, erase } => self.deactivate(&name, erase).await,
            Request::CreateToken {
                token,
                uses,
                lifetime_s,
            } => token::make(&self.accounts, token, uses, lifetime_s).await,
            Request::ListTokens { after } => token::page(&self.accounts, after).await,
            Request::RevokeToken { token } => token::end(&self.accounts, token).await,
            Request::ListReports { after } => report::page(&self.accounts, after).await,
            Request::DeleteReport { number } => report::remove(&self.accounts, number).await,
            Request::PurgeRoom { room_id, force } => room::note_purge(self, room_id, force).await,
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
            registration_token: None,
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

    async fn deactivate(&self, name: &str, erase: bool) -> Result<Answer, Failure> {
        let account = self.find(name).await?;
        match self.accounts.deactivate(account.user, erase).await {
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
    } else if account.locked_at.is_some() {
        "locked"
    } else if account.suspended_at.is_some() {
        "suspended"
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

pub(crate) fn database(error: &starling_db::Error) -> Failure {
    Failure::of("the database failed", error)
}
