//! `[media]`: files that users upload.

use serde::Deserialize;

use crate::keys::{Key, Kind, Section, Value};

/// Files that users upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Media {
    /// The largest file, in bytes.
    pub max_upload_bytes: u64,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            max_upload_bytes: 104_857_600,
        }
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "media",
    repeated: false,
    doc: "Files that users upload.",
    keys: &[Key {
        name: "max_upload_bytes",
        kind: Kind::Integer,
        value: Value::Default("104857600"),
        doc: "The largest file, in bytes.",
        built: false,
    }],
};
