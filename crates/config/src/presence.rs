//! `[presence]`: whether users are told who is there.

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// Whether users are told who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Presence {
    /// Whether they are.
    pub enabled: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "presence",
    repeated: false,
    doc: "Whether users who share a room are told who of them is there.",
    keys: &[Key {
        name: "enabled",
        kind: Kind::Boolean,
        value: Value::Default("true"),
        doc: "Whether they are. Without it, everybody is offline to everybody.",
        built: true,
    }],
};
