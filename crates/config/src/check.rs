//! What no single value shows: bounds, paths that must be readable, settings that are dangerous together.

use std::path::PathBuf;

use crate::error::Fault;
use crate::load::{Authorities, Filter, Pair, Readable};
use crate::{Config, RegistrationMode, listeners};

/// The longest name of this server, in bytes, so that users' ids keep room for a name.
const MAX_SERVER_NAME: usize = 230;
/// The least that the caches need.
const LEAST_MEMORY: u64 = 1 << 20;

impl Config {
    /// Each section's own bounds.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.server_name.as_str().len() > MAX_SERVER_NAME {
            return Err(Fault::new(
                "server_name",
                "has more than 230 characters",
                "choose a shorter name",
            ));
        }
        if self.max_memory.0 < LEAST_MEMORY {
            return Err(Fault::new(
                "max_memory",
                "is too little for the caches",
                "write at least 1MiB",
            ));
        }
        listeners::check(&self.listeners)?;
        self.database.check()?;
        self.passwords.check()?;
        self.sessions.check()?;
        self.rate_limits.check()?;
        self.federation.check()?;
        self.rooms.check()?;
        self.smtp.check()?;
        self.turn.check()?;
        self.well_known.check()
    }

    /// Registration that is open without anybody having said so stays on this machine.
    pub(crate) fn check_open_registration(&self, said: bool) -> Result<(), Fault> {
        if said || self.registration.mode != RegistrationMode::Open {
            return Ok(());
        }
        match self
            .listeners
            .iter()
            .position(|listener| !listener.address.ip().is_loopback())
        {
            Some(index) => Err(Fault::new(
                format!("listeners.{index}.address"),
                "others can reach it, and registration is open by default in the development profile",
                "write mode = \"open\" under [registration] if that is meant, or listen on 127.0.0.1",
            )),
            None => Ok(()),
        }
    }

    /// Asks for each path that must exist before the start.
    pub(crate) fn check_paths(&self, readable: Readable<'_>) -> Result<(), Fault> {
        for (key, path) in self.needed_paths() {
            if let Err(error) = readable(path) {
                let problem = format!("{} cannot be read: {error}", path.display());
                return Err(Fault::new(
                    key,
                    problem,
                    "put the file there, let the server's user read it, or change the path",
                ));
            }
        }
        Ok(())
    }

    /// Asks for each listener's certificate and key, whether TLS works with them.
    pub(crate) fn check_tls(&self, pair: Pair<'_>) -> Result<(), Fault> {
        for (index, listener) in self.listeners.iter().enumerate() {
            if let Some(Err(problem)) = listener.tls.as_ref().map(pair) {
                return Err(Fault::new(
                    format!("listeners.{index}.tls"),
                    problem,
                    "name PEM files of a certificate and of the private key that belongs to it",
                ));
            }
        }
        Ok(())
    }

    /// Asks for each file of authorities whether it holds any, if they are needed.
    pub(crate) fn check_authorities(&self, authorities: Authorities<'_>) -> Result<(), Fault> {
        if !self.federation.enabled {
            return Ok(());
        }
        for (index, path) in self.outbound.extra_ca_files.iter().enumerate() {
            if let Err(problem) = authorities(path) {
                return Err(Fault::new(
                    format!("outbound.extra_ca_files.{index}"),
                    problem,
                    "name a PEM file of the certificate of an authority",
                ));
            }
        }
        Ok(())
    }

    /// Asks whether the log can be filtered so.
    pub(crate) fn check_filter(&self, filter: Filter<'_>) -> Result<(), Fault> {
        filter(&self.logging.filter).map_err(|problem| {
            Fault::new(
                "logging.filter",
                problem,
                "write error, warn, info, debug or trace, or such as \"info,starling_db=debug\"",
            )
        })
    }

    fn needed_paths(&self) -> Vec<(String, &PathBuf)> {
        let mut paths = Vec::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            if let Some(tls) = &listener.tls {
                paths.push((
                    format!("listeners.{index}.tls.certificate"),
                    &tls.certificate,
                ));
                paths.push((format!("listeners.{index}.tls.key"), &tls.key));
            }
        }
        let authorities = self.outbound.extra_ca_files.iter().enumerate();
        paths.extend(
            authorities.map(|(index, path)| (format!("outbound.extra_ca_files.{index}"), path)),
        );
        let services = self.appservices.files.iter().enumerate();
        paths.extend(services.map(|(index, path)| (format!("appservices.files.{index}"), path)));
        paths
    }
}
