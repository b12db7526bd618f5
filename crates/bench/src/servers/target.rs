//! A server that is measured: where it is, how one gets an account, and which processes are its.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

use super::Error;
use super::processes::Processes;

/// A server that is measured.
#[derive(Debug, Clone)]
pub struct Target {
    /// What tables call it.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// What registration asks for, if it isn't open.
    pub registration_token: Option<String>,
    /// Its processes; nothing where they aren't known.
    pub processes: Option<Processes>,
    /// Those of its database, if that is a server of its own.
    pub database: Option<Processes>,
    /// Where it is for other servers, which is its name too, if it knows others.
    pub federation: Option<SocketAddr>,
}

impl Target {
    /// The CPU time that it has used, its database included, where it is known.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        let database = self.database.as_ref().map(Processes::cpu_time);
        Some(self.processes.as_ref()?.cpu_time() + database.unwrap_or_default())
    }

    /// The memory that it holds in bytes, its database not included, where it is known.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        self.processes.as_ref().map(Processes::memory)
    }
}

/// `NAME=URL[,token=TOKEN][,pid=PID]`.
impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = |why: &str| Error::Target(format!("{text}: {why}"));
        let (name, rest) = text
            .split_once('=')
            .ok_or_else(|| malformed("it is NAME=URL"))?;
        let mut parts = rest.split(',');
        let url = parts.next().unwrap_or_default();
        let mut target = Self {
            name: name.to_owned(),
            address: address_of(url)
                .ok_or_else(|| malformed("the URL is http://HOST:PORT of a host that is found"))?,
            registration_token: None,
            processes: None,
            database: None,
            federation: None,
        };
        for part in parts {
            match part.split_once('=') {
                Some(("token", token)) => target.registration_token = Some(token.to_owned()),
                Some(("pid", pid)) => {
                    let pid = pid.parse().map_err(|_| malformed("pid is a number"))?;
                    target.processes.get_or_insert_default().add(pid);
                }
                _ => return Err(malformed("after the URL come token=… and pid=…")),
            }
        }
        Ok(target)
    }
}

fn address_of(url: &str) -> Option<SocketAddr> {
    let host = url.strip_prefix("http://")?.trim_end_matches('/');
    host.to_socket_addrs().ok()?.next()
}
