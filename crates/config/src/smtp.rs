//! `[smtp]`: mail that the server sends.

use serde::Deserialize;

use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// Mail that the server sends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Smtp {
    /// The mail server; empty: no mail is sent.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The sender's address.
    pub from: String,
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 25,
            from: String::new(),
        }
    }
}

impl Smtp {
    /// Whoever sends mail needs an address.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if !self.host.is_empty() && !self.from.contains('@') {
            let fix = "for instance: from = \"matrix@example.org\"";
            return Err(Fault::new(
                "smtp.from",
                "is not the address of a sender, and smtp.host is set",
                fix,
            ));
        }
        Ok(())
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "smtp",
    repeated: false,
    doc: "Mail that the server sends.",
    keys: &[
        Key {
            name: "host",
            kind: Kind::Text,
            value: Value::Default("\"\""),
            doc: "The mail server. Without one no mail is sent.",
            built: false,
        },
        Key {
            name: "port",
            kind: Kind::Integer,
            value: Value::Default("25"),
            doc: "Its port.",
            built: false,
        },
        Key {
            name: "from",
            kind: Kind::Text,
            value: Value::Default("\"\""),
            doc: "The sender's address.",
            built: false,
        },
    ],
};
