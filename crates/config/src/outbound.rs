//! `[outbound]`: every connection that the server opens.

use std::path::PathBuf;

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// Every connection that the server opens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Outbound {
    /// PEM files of authorities trusted besides the system's.
    pub extra_ca_files: Vec<PathBuf>,
    /// Whether the other side's certificate is checked.
    pub verify_tls: bool,
    /// Whether it may connect to loopback and private networks.
    pub allow_private_addresses: bool,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            extra_ca_files: Vec::new(),
            verify_tls: true,
            allow_private_addresses: false,
        }
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "outbound",
    repeated: false,
    doc: "Every connection that the server opens.",
    keys: &[
        Key {
            name: "extra_ca_files",
            kind: Kind::List,
            value: Value::Default("[]"),
            doc: "PEM files trusted besides the system's roots.",
            built: true,
        },
        Key {
            name: "verify_tls",
            kind: Kind::Boolean,
            value: Value::Default("true"),
            doc: "Whether the other side's certificate is checked. False only for tests.",
            built: true,
        },
        Key {
            name: "allow_private_addresses",
            kind: Kind::Boolean,
            value: Value::Default("false"),
            doc: "True lets it talk to loopback and private networks.",
            built: true,
        },
    ],
};
