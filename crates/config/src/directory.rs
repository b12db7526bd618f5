//! `[directory]`: who may read the list of public rooms.

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// Who may read the list of public rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Directory {
    /// Whether other servers may.
    pub public_over_federation: bool,
    /// Whether anybody may without logging in.
    pub public_without_login: bool,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            public_over_federation: true,
            public_without_login: false,
        }
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "directory",
    repeated: false,
    doc: "Who may read the list of public rooms.",
    keys: &[
        Key {
            name: "public_over_federation",
            kind: Kind::Boolean,
            value: Value::Default("true"),
            doc: "Whether other servers may.",
            built: true,
        },
        Key {
            name: "public_without_login",
            kind: Kind::Boolean,
            value: Value::Default("false"),
            doc: "Whether anybody may without logging in.",
            built: true,
        },
    ],
};
