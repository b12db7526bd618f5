//! Opens the data: what the server and the offline `user` commands have in common.

use ruma_common::{OwnedServerName, ServerName};
use starling_accounts::{Accounts, PasswordCost, Setup};
use starling_bus::Bus;
use starling_config::{Config, DatabaseUrl};
use starling_db::{Db, Error, Options, Tx, Write};
use starling_runtime::{Chance, Clock, Cpu};
use starling_store::{CacheSizes, SCHEMA, Store, server};

use crate::failure::Failure;
use crate::user::Users;

/// How many passwords may wait to be hashed: some seconds' worth, after which nobody waits for the answer any longer.
const PASSWORDS_WAITING: usize = 64;

/// The data of a server, open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) server_name: OwnedServerName,
    pub(crate) users: Users,
    /// Tells the database from others; copies have the same.
    pub(crate) log_id: i64,
}

/// Opens the database of this configuration, or makes it. The data folder is locked by the caller; a PostgreSQL
/// database, which servers with other data folders could share, is locked too: one server has it at a time.
pub(crate) async fn open(config: &Config) -> Result<Opened, Failure> {
    let server_name = ServerName::parse(config.server_name.as_str())
        .map_err(|error| Failure::of("server_name", &error))?;
    let chance = Chance::system().map_err(|error| Failure::of("no random bytes", &error))?;
    let clock = Clock::system();
    let failed = |error: Error| Failure::of("cannot open the database", &error);
    let db = open_database(config).await.map_err(failed)?;
    let name = server_name.clone();
    let new_id = i64::from_ne_bytes(chance.number().to_ne_bytes());
    let unfit = config.unfit_name();
    let record = move |tx: &mut Tx<'_>| {
        let is_new = server::server_name_record(tx, name.as_str())?;
        if let Some(why) = unfit.clone().filter(|_| is_new) {
            return Err(Error::Refused(why));
        }
        server::log_id_record(tx, new_id)
    };
    let log_id = db.write(Write::new("server_name"), record);
    let log_id = log_id.await.map_err(failed)?;
    let (head, epoch) = db.head().await.map_err(failed)?;
    let bus = Bus::new(head, chance.number());
    let store = Store::new(db, epoch, CacheSizes::new(config.max_memory.0));
    let entered = store.auth_graph_complete().await.map_err(failed)?;
    if entered > 0 {
        tracing::info!(
            entered,
            "older state events were entered into the graph of auth events"
        );
    }
    let secret = starling_accounts::session_secret(&store, &chance).await;
    let secret = secret.map_err(failed)?;
    let cost = PasswordCost::new(config.passwords.memory_kib, config.passwords.iterations);
    let accounts = Accounts::new(Setup {
        store: store.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
        chance: chance.clone(),
        cpu: Cpu::threads(hashing_threads(), PASSWORDS_WAITING),
        server_name: server_name.clone(),
        password_cost: cost.map_err(|error| Failure::of("[passwords]", &error))?,
        session_secret: secret,
        access_token_lifetime: config.sessions.access_token_lifetime(),
    });
    let users = Users {
        accounts,
        store: store.clone(),
        clock: clock.clone(),
        server_name: server_name.clone(),
    };
    Ok(Opened {
        store,
        bus,
        clock,
        chance,
        server_name,
        users,
        log_id,
    })
}

/// One core stays free for everything else, so that a flood of logins doesn't hold messages up.
fn hashing_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).max(1)
}

async fn open_database(config: &Config) -> Result<Db, Error> {
    let options = Options {
        exclusive: true,
        ..Options::default()
    };
    match &config.database.url {
        DatabaseUrl::Sqlite(path) => {
            // The folder of the database may be another than the data folder.
            if let Some(Err(error)) = path.parent().map(std::fs::create_dir_all) {
                return Err(Error::Unavailable(format!(
                    "the folder of {}: {error}",
                    path.display()
                )));
            }
            Db::open_sqlite(path, &SCHEMA, &options)
        }
        DatabaseUrl::Postgres(url) => Db::open_postgres(url.expose(), &SCHEMA, &options).await,
    }
}
