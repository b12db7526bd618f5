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
    /// Whether who leaves a room, is kicked or is banned forgets it at once.
    pub forget_on_leave: bool,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            default_version: "12".to_owned(),
            forget_on_leave: false,
        }
    }
}

/// The room versions that rooms can be made in:
/// <https://spec.matrix.org/v1.19/rooms/#complete-list-of-room-versions>
///
/// The list of `starling-events`, which this crate doesn't depend on, once more; a test of the program compares them.
pub const ROOM_VERSIONS: [&str; 12] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12",
];

impl Rooms {
    /// Refuses a version that rooms cannot be made in.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if ROOM_VERSIONS.contains(&self.default_version.as_str()) {
            return Ok(());
        }
        Err(Fault::new(
            "rooms.default_version",
            "is not a room version that this server knows",
            format!("write one of \"{}\"", ROOM_VERSIONS.join("\", \"")),
        ))
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "rooms",
    repeated: false,
    doc: "Rooms made here.",
    keys: &[
        Key {
            name: "default_version",
            kind: Kind::Text,
            value: Value::Default("\"12\""),
            doc: "The room version for a room whose creator asks for none: one of \"1\" to \"12\".",
            built: true,
        },
        Key {
            name: "forget_on_leave",
            kind: Kind::Boolean,
            value: Value::Default("false"),
            doc: "Whether users forget a room, with its history, as soon as they leave it or are sent out.",
            built: true,
        },
    ],
};
