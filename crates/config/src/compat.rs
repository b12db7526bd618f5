//! `[compat]`: what old clients need.

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// What old clients need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Compat {
    /// Whether an access token may stand in the query string.
    pub access_token_in_query: bool,
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            access_token_in_query: true,
        }
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "compat",
    repeated: false,
    doc: "What old clients need.",
    keys: &[Key {
        name: "access_token_in_query",
        kind: Kind::Boolean,
        value: Value::Default("true"),
        doc: "Whether an access token may stand in the query string, as old clients and test suites send it. Never logged.",
        built: true,
    }],
};
