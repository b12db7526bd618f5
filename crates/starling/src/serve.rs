//! `starling serve`: puts the server together, and runs it until a signal.

use std::fmt::Display;
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use starling_client_api::{Parts, State};
use starling_config::{Config, Listener, Serves};
use starling_db::Db;
use starling_delivery::{Jobs, Sender, SenderParts};
use starling_e2ee::{KeyBackups, ToDevice, ToDeviceParts};
use starling_e2ee::{Keys, KeysParts};
use starling_ephemeral::Ephemeral;
use starling_http::{Certificates, Edge, Health, Limits, RateLimiter, Server, Shutdown};
use starling_outbound::{FederationClient, Identity};
use starling_rooms::{Remote, Rooms};
use starling_runtime::Cpu;
use starling_search::Search;
use starling_store::UserNum;
use starling_store::room_servers::rooms_shared_count;
use starling_sync::Sync;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::configuration::Configuration;
use crate::control::ControlSocket;
use crate::data_dir::{DataDir, LockError};
use crate::failure::Failure;
use crate::federation::Federation;
use crate::head_note::HeadNote;
use crate::open::{self, Opened};
use crate::pages::{self, Pages, SetupLink};
use crate::signals::{Asked, Signals};
use crate::sweep::{Rows, Sweeper};
use crate::{federation, logs, metrics, signing_key, version};

/// How long the database may take to say that it is there.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// So many pieces of work wait to be checked, each with some 100 events.
const CHECKS_WAITING: usize = 256;

/// Runs the server until SIGTERM or SIGINT, or until it can't answer for what its database holds.
pub(crate) fn run(configuration: Configuration) -> Result<(), Failure> {
    logs::start(&configuration.config.logging)?;
    let config = &configuration.config;
    tracing::info!(
        version = version::details(),
        server_name = %config.server_name,
        database = ?config.database.url,
        data_dir = %config.data_dir.display(),
        "starling starts"
    );
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| Failure::new("TLS is set up already"))?;
    let data_dir = lock(&configuration.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of("cannot start the runtime", &error))?;
    runtime.block_on(Box::pin(serve(Arc::new(configuration), data_dir)))
}

fn lock(config: &Config) -> Result<DataDir, Failure> {
    DataDir::lock(&config.data_dir).map_err(|error| match error {
        LockError::Failed(failure) => failure,
        LockError::Held(holder) => Failure::new(format!(
            "the data folder {} is in use by {holder}",
            config.data_dir.display()
        )),
    })
}

async fn serve(configuration: Arc<Configuration>, data_dir: DataDir) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    for warning in configuration.config.warnings() {
        tracing::warn!("{warning}");
    }
    let opened = open::open(&configuration.config).await?;
    let head_note = HeadNote::check(&configuration, &opened)?;
    let shutdown = Shutdown::new();
    let (stop_sync, stopping) = watch::channel(false);
    let key = signing_key::current(&configuration, &opened).await?;
    let old_keys = signing_key::replaced(opened.store.db(), &key).await?;
    let identity = Identity {
        server_name: opened.server_name.clone(),
        signing_key: Arc::new(key),
    };
    let own = (identity.clone(), old_keys);
    let federation = federation::build(&configuration.config, &opened, own)?;
    if federation.is_none() {
        warn_of_shared_rooms(opened.store.db()).await?;
    }
    let remote = federation.as_ref().map(|federation| {
        let cpu = Cpu::threads(checking_threads(), CHECKS_WAITING);
        Remote::new(federation.client.clone(), federation.keys.clone(), cpu)
    });
    let client = federation.as_ref().map(|it| it.client.clone());
    let own = (identity, remote, client);
    let state = state(&configuration, &opened, own, (&shutdown, stopping));
    // Before anything happens that others should hear of.
    let sender = federation
        .as_ref()
        .map(|federation| sender(&opened, federation));
    let setup = setup_link(&configuration, &opened).await?;
    let apis = Apis {
        federation: federation.map(|federation| federation_state(&state, federation)),
        client: state.clone(),
    };
    let (server, addresses) = listen(&configuration.config, &opened, &apis, setup.clone()).await?;
    let socket = ControlSocket::bind(data_dir.path())
        .map_err(|error| Failure::of("cannot listen on the socket in the data folder", &error))?;
    announce(&configuration, &data_dir, &addresses, setup.as_deref())?;
    let certificates = server.certificates();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run());
    let stop = shutdown.clone();
    tasks.spawn(socket.serve(opened.users.clone(), async move { stop.begun().await }));
    tasks.spawn(sweeper(&state, &opened, shutdown.clone()).run());
    tasks.spawn(
        head_note
            .clone()
            .follow(opened.bus.clone(), shutdown.clone()),
    );
    let jobs = Jobs::new(
        opened.store.clone(),
        state.rooms.clone(),
        opened.clock.clone(),
    );
    let stop = shutdown.clone();
    tasks.spawn(jobs.run(async move { stop.begun().await }));
    if let Some(sender) = sender {
        speak_to_servers(&mut tasks, sender, (&state, &shutdown)).await?;
    }
    let ended = until_stopped(&mut signals, &certificates, opened.store.db().failed()).await;
    if let Err(failure) = &ended {
        tracing::error!("{}", failure.line());
    }
    tracing::info!("stopping");
    shutdown.begin();
    stop_sync.send_replace(true);
    while tasks.join_next().await.is_some() {}
    state.rooms.finish_invites().await;
    head_note.write(opened.bus.head());
    opened.store.db().close().await;
    tracing::info!("stopped");
    ended
}

fn sweeper(state: &State, opened: &Opened, shutdown: Shutdown) -> Sweeper {
    let rows = Rows {
        accounts: state.accounts.clone(),
        rooms: state.rooms.clone(),
        ephemeral: state.ephemeral.clone(),
        to_device: state.to_device.clone(),
        key_backups: state.key_backups.clone(),
        clock: opened.clock.clone(),
        shutdown,
    };
    Sweeper {
        rows,
        bus: opened.bus.clone(),
    }
}

/// Says so where users of other servers wait for what is said here.
async fn warn_of_shared_rooms(db: &Db) -> Result<(), Failure> {
    let shared = db.read("rooms_shared", rooms_shared_count).await;
    let rooms = shared.map_err(|error| Failure::of("cannot read the rooms", &error))?;
    if rooms > 0 {
        tracing::warn!(
            rooms,
            "federation.enabled is false, and users of other servers are in rooms here: nothing is told to them or comes from \
             them until it is true again"
        );
    }
    Ok(())
}

/// Begins what goes on between this server and others, until the server stops.
async fn speak_to_servers(
    tasks: &mut JoinSet<()>,
    sender: Sender,
    (state, shutdown): (&State, &Shutdown),
) -> Result<(), Failure> {
    let resumed = state.rooms.resume_inbox().await;
    resumed.map_err(|error| Failure::of("cannot read what other servers sent", &error))?;
    let stopped = || {
        let shutdown = shutdown.clone();
        async move { shutdown.begun().await }
    };
    tasks.spawn(sender.run(stopped()));
    tasks.spawn(state.keys.clone().run_resync(stopped()));
    tasks.spawn(state.rooms.clone().run_catch_up(stopped()));
    Ok(())
}

/// Waits for a signal that ends the server; on another one, certificates are read again. An error when the database
/// has failed for good (see [`Db::failed`]).
async fn until_stopped(
    signals: &mut Signals,
    certificates: &Certificates,
    failed: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut failed = pin!(failed);
    loop {
        let asked = tokio::select! {
            () = &mut failed => return Err(Failure::new(
                "it is not known whether a change was stored: the server must start again, to go on from what is",
            )),
            asked = signals.next() => asked,
        };
        if asked == Asked::Stop {
            return Ok(());
        }
        match certificates.reload() {
            Ok(()) => tracing::info!("certificates were read again"),
            Err(error) => tracing::error!(
                error = Failure::of("reload", &error).line(),
                "a certificate is kept as it was"
            ),
        }
    }
}

/// What the APIs of other callers than administrators work with.
struct Apis {
    client: State,
    /// `None` when the server talks to no other.
    federation: Option<starling_federation_api::State>,
}

/// What the server-server API works with.
fn federation_state(state: &State, federation: Federation) -> starling_federation_api::State {
    starling_federation_api::State::new(starling_federation_api::Parts {
        config: Arc::clone(&state.config),
        accounts: state.accounts.clone(),
        rooms: state.rooms.clone(),
        ephemeral: state.ephemeral.clone(),
        device_keys: state.keys.clone(),
        to_device: state.to_device.clone(),
        client: federation.client,
        keys: federation.keys,
        old_keys: federation.old_keys,
        clock: state.clock.clone(),
        limiter: state.limiter.clone(),
    })
}

/// What sends to other servers.
fn sender(opened: &Opened, federation: &Federation) -> Sender {
    Sender::new(SenderParts {
        store: opened.store.clone(),
        bus: opened.bus.clone(),
        client: federation.client.clone(),
        clock: opened.clock.clone(),
        chance: opened.chance.clone(),
    })
}

/// Events of other servers are checked on so many threads.
fn checking_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the client API works with.
fn state(
    configuration: &Configuration,
    opened: &Opened,
    (identity, remote, client): (Identity, Option<Remote>, Option<FederationClient>),
    (shutdown, stopping): (&Shutdown, watch::Receiver<bool>),
) -> State {
    let config = &configuration.config;
    let Opened {
        store,
        bus,
        clock,
        chance,
        server_name,
        users,
        ..
    } = opened;
    let rooms = Rooms::new(starling_rooms::Parts {
        store: store.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
        chance: chance.clone(),
        server_name: identity.server_name,
        signing_key: identity.signing_key,
        default_version: configuration.default_version,
        forget_on_leave: config.rooms.forget_on_leave,
        remote,
    });
    let ephemeral = Ephemeral::new(starling_ephemeral::Parts {
        store: store.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
        has_presence: config.presence.enabled,
    });
    let keys = Keys::new(KeysParts {
        store: store.clone(),
        bus: bus.clone(),
        server_name: server_name.clone(),
        clock: clock.clone(),
        remote: client,
    });
    let to_device = ToDevice::new(ToDeviceParts {
        store: store.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
        chance: chance.clone(),
        server_name: server_name.clone(),
    });
    State::new(Parts {
        config: Arc::new(config.clone()),
        store: store.clone(),
        accounts: users.accounts.clone(),
        rooms,
        ephemeral,
        keys,
        to_device,
        key_backups: KeyBackups::new(store.clone()),
        sync: Sync::new(store.clone(), bus.clone(), clock.clone(), stopping),
        search: Search::new(store.clone(), server_name.clone()),
        clock: clock.clone(),
        chance: chance.clone(),
        limiter: RateLimiter::new(&config.rate_limits, clock.clone()),
        shutdown: shutdown.clone(),
    })
}

/// The way to a first administrator, in the development profile, as long as there is no account.
async fn setup_link(
    configuration: &Configuration,
    opened: &Opened,
) -> Result<Option<Arc<SetupLink>>, Failure> {
    if !configuration.is_development() {
        return Ok(None);
    }
    let accounts = opened.users.accounts.list(UserNum(0), 1).await;
    let accounts = accounts.map_err(|error| Failure::of("cannot read the accounts", &error))?;
    Ok(accounts
        .is_empty()
        .then(|| Arc::new(SetupLink::new(opened.clock.clone(), &opened.chance))))
}

/// Opens the listeners.
async fn listen(
    config: &Config,
    opened: &Opened,
    apis: &Apis,
    setup: Option<Arc<SetupLink>>,
) -> Result<(Server, Vec<(Listener, SocketAddr)>), Failure> {
    let state = &apis.client;
    let is_served = |wanted| {
        config
            .listeners
            .iter()
            .any(|listener| listener.serves.contains(&wanted))
    };
    let metrics = if is_served(Serves::Metrics) {
        let client = apis.federation.as_ref().map(|api| api.client.clone());
        let db = opened.store.db().clone();
        Some(metrics::start(db, client, &state.shutdown)?)
    } else {
        None
    };
    let edge = Edge {
        clock: opened.clock.clone(),
        chance: opened.chance.clone(),
        health: health(opened.store.db().clone(), state.shutdown.clone()),
        limiter: state.limiter.clone(),
        metrics,
    };
    let pages = Pages {
        server_name: opened.server_name.clone(),
        registration: config.registration.mode,
        accounts: opened.users.accounts.clone(),
        setup,
    };
    let mut server = Server::new(Limits::default(), state.shutdown.clone());
    let mut addresses = Vec::new();
    for listener in &config.listeners {
        let app = edge.app(listener, routes(listener, apis, opened, &pages));
        let address = server
            .listen(listener, app)
            .await
            .map_err(|error| Failure::of("cannot start", &error))?;
        addresses.push((listener.clone(), address));
    }
    Ok((server, addresses))
}

/// What one listener answers.
fn routes(listener: &Listener, apis: &Apis, opened: &Opened, pages: &Pages) -> Router {
    let state = &apis.client;
    let mut router = Router::new();
    if listener.serves.contains(&Serves::Client) {
        router = router.merge(starling_client_api::routes().into_router(state.clone()));
    } else if listener.serves.contains(&Serves::Federation) {
        let delegation = starling_client_api::delegation_routes();
        router = router.merge(delegation.into_router(state.clone()));
    }
    if listener.serves.contains(&Serves::Federation) {
        router = router.merge(starling_client_api::federation_routes().into_router(state.clone()));
        if let Some(federation) = &apis.federation {
            router =
                router.merge(starling_federation_api::routes().into_router(federation.clone()));
        }
    }
    if listener.serves.contains(&Serves::Admin) {
        let (clock, chance) = (opened.clock.clone(), opened.chance.clone());
        let (accounts, limiter) = (state.accounts.clone(), state.limiter.clone());
        let admin = starling_admin_api::State::new(&state.config, accounts, limiter, clock, chance);
        router = router.merge(starling_admin_api::routes().into_router(admin));
    }
    if listener.serves.contains(&Serves::Client) || listener.serves.contains(&Serves::Web) {
        router = router.merge(pages::router(pages.clone()));
    }
    router
}

/// Healthy is a server that doesn't stop and whose database answers.
fn health(db: Db, shutdown: Shutdown) -> Health {
    Arc::new(move || {
        let (db, shutdown) = (db.clone(), shutdown.clone());
        Box::pin(async move {
            if shutdown.has_begun() {
                return Err("the server stops".to_owned());
            }
            match tokio::time::timeout(HEALTH_PATIENCE, db.head()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(Failure::of("the database failed", &error).line().to_owned()),
                Err(_) => Err("the database does not answer".to_owned()),
            }
        })
    })
}

/// Says where the server listens: in the log, in the lock, and in the development profile to the person who started it.
fn announce(
    configuration: &Configuration,
    data_dir: &DataDir,
    addresses: &[(Listener, SocketAddr)],
    setup: Option<&SetupLink>,
) -> Result<(), Failure> {
    let urls: Vec<String> = addresses
        .iter()
        .map(|(listener, address)| url(listener, address))
        .collect();
    for url in &urls {
        tracing::info!(%url, "listening");
    }
    let holder = format!(
        "process {}, listening on {}",
        std::process::id(),
        urls.join(" and ")
    );
    data_dir
        .describe(&holder)
        .map_err(|error| Failure::of("cannot write the lock file", &error))?;
    if configuration.is_development() {
        let first = urls.first().map_or("", String::as_str);
        let setup = setup.map_or_else(String::new, |setup| {
            let hours = SetupLink::HOURS;
            format!(
                "  Create the administrator (once, within {hours} hours): {first}{}\n",
                setup.path()
            )
        });
        // Who started it may have closed standard error.
        writeln!(std::io::stderr(), "\n  Open {first}/\n{setup}").ok();
    }
    Ok(())
}

fn url(listener: &Listener, address: &impl Display) -> String {
    let scheme = if listener.tls.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{address}")
}

#[cfg(test)]
mod tests {
    use starling_http::{Limits, Server, Shutdown};

    use super::until_stopped;
    use crate::signals::Signals;

    #[tokio::test]
    async fn a_database_that_failed_for_good_ends_the_server_with_an_error() {
        let mut signals = Signals::listen().unwrap();
        let certificates = Server::new(Limits::default(), Shutdown::new()).certificates();
        let ended = until_stopped(&mut signals, &certificates, std::future::ready(())).await;
        assert!(ended.unwrap_err().line().contains("start again"));
    }
}
