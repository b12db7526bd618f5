//! `[federation]`: other servers.

use serde::Deserialize;

use crate::ServerName;
use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// How the server deals with other servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Federation {
    /// Whether it talks to other servers at all.
    pub enabled: bool,
    /// Servers asked for the keys of others.
    pub trusted_key_servers: Vec<ServerName>,
    /// How long to wait after the first failure, in milliseconds.
    pub backoff_initial_ms: u64,
    /// How long to wait at most, in milliseconds; a day, if that is longer, after a week.
    pub backoff_max_ms: u64,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: true,
            trusted_key_servers: Vec::new(),
            backoff_initial_ms: 1000,
            backoff_max_ms: 3_600_000,
        }
    }
}

impl Federation {
    /// Refuses a backoff that would hammer a server that is down, or shrink.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.backoff_initial_ms == 0 {
            return Err(Fault::new(
                "federation.backoff_initial_ms",
                "would try again at once for ever",
                "write at least 1",
            ));
        }
        if self.backoff_max_ms < self.backoff_initial_ms {
            let fix = format!("write at least {}", self.backoff_initial_ms);
            return Err(Fault::new(
                "federation.backoff_max_ms",
                "is below backoff_initial_ms",
                fix,
            ));
        }
        Ok(())
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "federation",
    repeated: false,
    doc: "Other servers.",
    keys: &[
        Key {
            name: "enabled",
            kind: Kind::Boolean,
            value: Value::Default("true"),
            doc: "Whether the server talks to other servers. While it doesn't, what they should get of rooms that they are in waits for them.",
            built: true,
        },
        Key {
            name: "trusted_key_servers",
            kind: Kind::List,
            value: Value::Default("[]"),
            doc: "Servers asked for the keys of others.",
            built: true,
        },
        Key {
            name: "backoff_initial_ms",
            kind: Kind::Integer,
            value: Value::Default("1000"),
            doc: "How long to leave a server alone after the first failure, in milliseconds; doubled at each further one.",
            built: true,
        },
        Key {
            name: "backoff_max_ms",
            kind: Kind::Integer,
            value: Value::Default("3600000"),
            doc: "How long at most, in milliseconds; a day, if that is longer, when the server has been down for a week.",
            built: true,
        },
    ],
};
