//! `[passwords]`: how dear it is to try one.

use serde::Deserialize;

use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// The least memory that argon2 works with, in KiB.
const LEAST_MEMORY: u32 = 8;

/// The cost of argon2id. Raising it makes the hash of a user anew at the next login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Passwords {
    /// Memory for one hash, in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub iterations: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            memory_kib: 19456,
            iterations: 2,
        }
    }
}

impl Passwords {
    /// Refuses what argon2 cannot work with.
    pub(crate) fn check(self) -> Result<(), Fault> {
        if self.memory_kib < LEAST_MEMORY {
            return Err(Fault::new(
                "passwords.memory_kib",
                "is too little for argon2",
                "write at least 8",
            ));
        }
        if self.iterations == 0 {
            return Err(Fault::new(
                "passwords.iterations",
                "no pass is no hash",
                "write at least 1",
            ));
        }
        Ok(())
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "passwords",
    repeated: false,
    doc: "The cost of argon2id: what one try of a password costs the server, and whoever stole its database.",
    keys: &[
        Key {
            name: "memory_kib",
            kind: Kind::Integer,
            value: Value::Default("19456"),
            doc: "Memory for one hash, in KiB.",
            built: true,
        },
        Key {
            name: "iterations",
            kind: Kind::Integer,
            value: Value::Default("2"),
            doc: "Passes over that memory.",
            built: true,
        },
    ],
};
