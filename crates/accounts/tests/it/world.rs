//! What each test starts from: an empty database with accounts over it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ruma_common::server_name;
use starling_accounts::{
    AccountKind, Accounts, Authentication, LoggedIn, LoginError, NewAccount, NewDevice,
    PasswordCost, PasswordLogin, RegisterError, Registered, Session, Setup,
};
use starling_bus::{Bus, Listener, Topic};
use starling_db::{Db, Error, Tx};
use starling_runtime::{Chance, Clock, Cpu};
use starling_store::{CacheSizes, SCHEMA, Store};
use starling_testkit::TestDb;

/// The password of the users that [`World::register`] makes.
pub(crate) const PASSWORD: &str = "correct horse";

/// When the world begins, in milliseconds.
pub(crate) const START_MS: i64 = 1_000_000_000;

/// A server's accounts.
pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) accounts: Accounts,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
}

/// Runs `test` in a fresh world on each engine.
pub(crate) async fn on_each_engine<F, Fut>(test: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = ()>,
{
    starling_testkit::on_each_engine(&SCHEMA, |db| async { test(World::new(db).await).await })
        .await;
}

/// Other accounts over `db`, as another node has them, or this one after a restart.
pub(crate) fn accounts_over(db: &Db, bus: &Bus, now_ms: i64, memory_kib: u32) -> Accounts {
    Accounts::new(Setup {
        store: Store::new(db.clone(), 1, CacheSizes::new(1 << 20)),
        bus: bus.clone(),
        clock: Clock::simulated(now_ms),
        chance: Chance::system().unwrap(),
        cpu: Cpu::threads(2, 64),
        server_name: server_name!("example.org").to_owned(),
        password_cost: PasswordCost::new(memory_kib, 1).unwrap(),
        session_secret: [9; 32],
        access_token_lifetime: Duration::from_mins(5),
    })
}

pub(crate) fn account(localpart: &str) -> NewAccount {
    NewAccount {
        localpart: Some(localpart.to_owned()),
        password: Some(PASSWORD.to_owned()),
        kind: AccountKind::User,
        is_admin: false,
        device: Some(NewDevice::default()),
        registration_token: None,
    }
}

pub(crate) fn device(id: &str) -> NewDevice {
    NewDevice {
        id: Some(id.to_owned()),
        ..NewDevice::default()
    }
}

impl World {
    pub(crate) async fn new(db: TestDb) -> Self {
        let (head, _) = db.db().head().await.unwrap();
        let bus = Bus::new(head, 7);
        let accounts = accounts_over(db.db(), &bus, START_MS, 8);
        let store = Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20));
        Self {
            db,
            accounts,
            store,
            bus,
        }
    }

    /// An account with [`PASSWORD`], and its first session.
    pub(crate) async fn register(&self, localpart: &str) -> (Registered, Session) {
        let registered = self.accounts.register(account(localpart)).await.unwrap();
        let session = self.session(registered.login.as_ref().unwrap()).await;
        (registered, session)
    }

    pub(crate) async fn try_register(&self, new: NewAccount) -> Result<Registered, RegisterError> {
        self.accounts.register(new).await
    }

    pub(crate) async fn login(&self, user: &str, password: &str) -> Result<LoggedIn, LoginError> {
        self.login_on(user, password, NewDevice::default()).await
    }

    pub(crate) async fn login_on(
        &self,
        user: &str,
        password: &str,
        device: NewDevice,
    ) -> Result<LoggedIn, LoginError> {
        let login = PasswordLogin {
            user: user.to_owned(),
            password: password.to_owned(),
            device,
        };
        self.accounts.login_password(login).await
    }

    /// The session that has begun.
    pub(crate) async fn session(&self, login: &LoggedIn) -> Session {
        self.whose(login).await.expect("the token is good")
    }

    /// Whether the token of `session` is good.
    pub(crate) async fn is_valid(&self, session: &Session) -> bool {
        is_valid(&self.accounts, session).await
    }

    pub(crate) async fn whose(&self, login: &LoggedIn) -> Option<Session> {
        let token = login.access_token.as_str();
        granted(self.accounts.authenticate(token).await.unwrap())
    }

    /// What the store says.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> T {
        self.store.db().read("test", body).await.unwrap()
    }

    /// Listens as the device of `session`.
    pub(crate) fn listen(&self, session: &Session) -> Ear {
        let (listener, _) = self.bus.listen(session.user.0, session.device.0, 0);
        let since = self.bus.head();
        listener.ready(since);
        Ear { listener, since }
    }
}

/// Whether the token of `session` is good.
pub(crate) async fn is_valid(accounts: &Accounts, session: &Session) -> bool {
    granted(accounts.authenticate_again(session).await.unwrap()).is_some()
}

/// The session of a token that is good.
pub(crate) fn granted(authenticated: Authentication) -> Option<Session> {
    match authenticated {
        Authentication::Granted(session) => Some(session),
        _ => None,
    }
}

/// A device's listener.
pub(crate) struct Ear {
    listener: Arc<Listener>,
    since: i64,
}

impl Ear {
    /// What it heard since the start.
    pub(crate) fn heard(&self) -> Vec<Topic> {
        let changes = self.listener.changes_since(self.since).unwrap();
        changes.into_iter().map(|(_, topic)| topic).collect()
    }
}
