//! `[rooms]`: rooms made here.

use serde::Deserialize;

use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// Rooms made here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rooms {
    /// The version of a room whose creator asks for none.
    pub default_version: String,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            default_version: "12".to_owned(),
        }
    }
}

impl Rooms {
    /// Refuses a version that there is not: <https://spec.matrix.org/v1.19/rooms/#complete-list-of-room-versions>
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if (1..=12).any(|version: u8| version.to_string() == self.default_version) {
            return Ok(());
        }
        Err(Fault::new(
            "rooms.default_version",
            "is not a room version",
            "write one of \"1\" to \"12\"",
        ))
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "rooms",
    repeated: false,
    doc: "Rooms made here.",
    keys: &[Key {
        name: "default_version",
        kind: Kind::Text,
        value: Value::Default("\"12\""),
        doc: "The room version for a room whose creator asks for none, \"1\" to \"12\".",
        built: true,
    }],
};
