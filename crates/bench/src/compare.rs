//! `starling-bench servers`: whole servers side by side.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use starling_bench::resident::authority::Authority;
use starling_bench::resident::listener::Listening;
use starling_bench::servers::Error;
use starling_bench::servers::machine;
use starling_bench::servers::plan::{FULL, Family, Plan, SHORT};
use starling_bench::servers::postgres::Cluster;
use starling_bench::servers::report::Report;
use starling_bench::servers::run::Run;
use starling_bench::servers::site::Site;
use starling_bench::servers::start::{Programs, Server};
use starling_bench::servers::target::Target;
use starling_runtime::Chance;
use tokio::time::Instant;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Servers {
    /// Few rounds, SQLite only, at most 100 clients.
    #[arg(long)]
    short: bool,
    /// Our program.
    #[arg(long)]
    starling: PathBuf,
    /// A Python that has Synapse; without it Synapse isn't measured.
    #[arg(long)]
    synapse_python: Option<PathBuf>,
    /// A PostgreSQL cluster, `postgres://USER@%2FFOLDER/DATABASE`; without it only SQLite is measured.
    #[arg(long, env = "STARLING_TEST_POSTGRES")]
    postgres: Option<String>,
    /// A server that runs already: `NAME=http://HOST:PORT[,token=TOKEN][,pid=PID]`, where TOKEN is for registration. May stand several times.
    #[arg(long = "target")]
    targets: Vec<Target>,
    /// Measure only this; may stand several times. Else everything is measured.
    #[arg(long, value_enum)]
    only: Vec<Family>,
    /// Where to write what was measured as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures, and prints the tables.
pub(crate) fn run(servers: &Servers) -> Result<(), Error> {
    // One thread: the servers need the processors more.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (report, ended) = runtime.block_on(Box::pin(measure(servers)))?;
    if let Some(path) = &servers.json {
        fs::write(
            path,
            serde_json::to_vec_pretty(&report).map_err(std::io::Error::from)?,
        )?;
    }
    println!(
        "{}",
        report.markdown("Starling, SQLite", "Starling, PostgreSQL")
    );
    ended
}

/// What was measured, and what ended it early.
async fn measure(servers: &Servers) -> Result<(Report, Result<(), Error>), Error> {
    let plan: Plan = if servers.short { SHORT } else { FULL };
    let authority = Arc::new(Authority::new()?);
    let listening = Listening::start(&authority).await?;
    let Started {
        sites,
        versions,
        mut missing,
    } = start(servers, &authority).await?;
    let mut run = Run {
        plan,
        only: servers.only.clone(),
        name: Chance::system()?.token(6).to_lowercase(),
        sites,
        resident: Some((listening.resident.clone(), authority.client()?)),
        report: Report {
            machine: machine::describe(),
            versions,
            ..Report::default()
        },
        progress: |what| eprintln!("{what}"),
    };
    let begun = Instant::now();
    run.all().await;
    eprintln!("measured for {} s", begun.elapsed().as_secs());
    let failed = run.sites.iter().filter(|site| site.failure.is_some());
    missing.extend(failed.map(|site| site.target.name.clone()));
    let ended = match missing.join("; ") {
        names if names.is_empty() => Ok(()),
        names => Err(Error::Incomplete(names)),
    };
    Ok((run.report, ended))
}

/// What a server is called, and its version.
type Version = (String, String);

/// What there is to be measured.
#[derive(Default)]
struct Started {
    sites: Vec<Site>,
    versions: Vec<Version>,
    /// Who didn't start.
    missing: Vec<String>,
}

impl Started {
    fn add(&mut self, name: &str, server: Result<Server, Error>) {
        match server {
            Ok(server) => {
                self.versions
                    .push((server.target.name.clone(), server.version.clone()));
                self.sites
                    .push(Site::new(server.target.clone(), Some(server)));
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                self.versions
                    .push((name.to_owned(), "did not start".to_owned()));
                self.missing.push(name.to_owned());
            }
        }
    }
}

async fn start(servers: &Servers, authority: &Arc<Authority>) -> Result<Started, Error> {
    machine::check_disk(&std::env::temp_dir())?;
    let programs = Programs {
        starling: servers.starling.clone(),
        synapse_python: servers.synapse_python.clone().unwrap_or_default(),
        authority: Arc::clone(authority),
    };
    let cluster = match servers.postgres.as_deref().filter(|_| !servers.short) {
        Some(url) => Some(Cluster::at(url).await?),
        None => None,
    };
    let with_synapse = servers.synapse_python.is_some();
    let mut started = Started::default();
    let ours = Server::starling(&programs, None).await;
    started.add("Starling, SQLite", ours);
    started.add("floor", Server::floor().await);
    if with_synapse {
        let synapse = Server::synapse(&programs, None).await;
        started.add("Synapse, SQLite", synapse);
    }
    if let Some(cluster) = &cluster {
        let ours = Server::starling(&programs, Some(cluster)).await;
        started.add("Starling, PostgreSQL", ours);
    }
    if let Some(cluster) = cluster.as_ref().filter(|_| with_synapse) {
        let synapse = Server::synapse(&programs, Some(cluster)).await;
        started.add("Synapse, PostgreSQL", synapse);
    }
    if let Some(cluster) = &cluster {
        let version = ("PostgreSQL".to_owned(), cluster.version().await?);
        started.versions.push(version);
    }
    let others = servers.targets.iter().cloned();
    started
        .sites
        .extend(others.map(|target| Site::new(target, None)));
    Ok(started)
}
