//! `[rate_limits]`: how often one caller may ask.

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// How often one caller may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Whether there are limits.
    pub enabled: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "rate_limits",
    repeated: false,
    doc: "How often one caller may ask.",
    keys: &[Key {
        name: "enabled",
        kind: Kind::Boolean,
        value: Value::Default("true"),
        doc: "Whether there are limits.",
        built: false,
    }],
};
