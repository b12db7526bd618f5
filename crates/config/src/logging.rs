//! `[logging]`: what is written to standard error.

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// What is written to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// What is logged, as `tracing` writes filters.
    pub filter: String,
    /// How a line looks; `--log-format` overrides it.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "logging",
    repeated: false,
    doc: "What is written to standard error.",
    keys: &[
        Key {
            name: "filter",
            kind: Kind::Text,
            value: Value::Default("\"info\""),
            doc: "error, warn, info, debug or trace; one part by its name: \"info,starling_db=debug\".",
            built: true,
        },
        Key {
            name: "format",
            kind: Kind::Text,
            value: Value::Default("\"text\""),
            doc: "\"text\" or \"json\"; `--log-format` overrides it.",
            built: true,
        },
    ],
};
