//! `[appservices]`: bridges and bots: <https://spec.matrix.org/v1.19/application-service-api/#registration>

use std::path::PathBuf;

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// Application services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Appservices {
    /// Their registration files.
    pub files: Vec<PathBuf>,
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "appservices",
    repeated: false,
    doc: "Application services: bridges and bots.",
    keys: &[Key {
        name: "files",
        kind: Kind::List,
        value: Value::Default("[]"),
        doc: "Registration YAML files, as in the specification.",
        built: false,
    }],
};
