//! Looking names up.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use thiserror::Error;

/// How long one query of a name server may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a query is made.
const ATTEMPTS: usize = 2;
/// How many answers are kept.
const CACHED_ANSWERS: u64 = 4096;
/// Of more addresses or services than this under one name, the rest isn't looked at.
pub(crate) const MAX_ANSWERS: usize = 16;

/// A service record: where a service of a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones are tried first.
    pub priority: u16,
    /// The share of those with the same priority.
    pub weight: u16,
    /// The host; empty where the service is decidedly not available.
    pub target: String,
    /// Its port.
    pub port: u16,
}

/// Why a name couldn't be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name} cannot be looked up: {problem}")]
pub struct ResolverError {
    /// The name.
    pub name: String,
    /// What went wrong.
    pub problem: String,
}

/// Looks names up. That nothing is found is an empty list, and no error.
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// The addresses of a host, following CNAME records.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolverError>>;

    /// The service records of a name such as `_matrix-fed._tcp.example.org`.
    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Srv>, ResolverError>>;
}

/// The name servers that this machine uses.
pub struct Dns {
    resolver: hickory_resolver::Resolver<TokioRuntimeProvider>,
}

impl Dns {
    /// As the system's configuration says.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn system() -> Result<Self, ResolverError> {
        let failed = |error: NetError| ResolverError {
            name: "the system's name servers".to_owned(),
            problem: error.to_string(),
        };
        let mut builder = hickory_resolver::Resolver::builder_tokio().map_err(failed)?;
        let options = builder.options_mut();
        options.timeout = QUERY_TIMEOUT;
        options.attempts = ATTEMPTS;
        options.cache_size = CACHED_ANSWERS;
        options.use_hosts_file = ResolveHosts::Always;
        let resolver = builder.build().map_err(failed)?;
        Ok(Self { resolver })
    }
}

/// With a dot at its end, so that no search domain of this machine is tried.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn or_none<T: Default>(name: &str, result: Result<T, NetError>) -> Result<T, ResolverError> {
    match result {
        Err(error) if error.is_no_records_found() => Ok(T::default()),
        result => result.map_err(|error| ResolverError {
            name: name.to_owned(),
            problem: error.to_string(),
        }),
    }
}

impl Resolver for Dns {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolverError>> {
        Box::pin(async move {
            // What a hosts file names, such as localhost, it names without the dot.
            let found = self.resolver.lookup_ip(absolute(host)).await;
            let found = found.map(|found| found.iter().take(MAX_ANSWERS).collect());
            or_none(host, found)
        })
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Srv>, ResolverError>> {
        Box::pin(async move {
            let found = self.resolver.srv_lookup(absolute(name)).await;
            let found = found.map(|found| {
                let services = found
                    .answers()
                    .iter()
                    .filter_map(|record| match &record.data {
                        RData::SRV(srv) => Some(Srv {
                            priority: srv.priority,
                            weight: srv.weight,
                            target: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                            port: srv.port,
                        }),
                        _ => None,
                    });
                services.take(MAX_ANSWERS).collect()
            });
            or_none(name, found)
        })
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}
