//! `[turn]`: the TURN servers through which calls go that don't get through otherwise.
//! <https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip>

use serde::Deserialize;

use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};
use crate::secret::Secret;

/// The TURN servers that clients are told of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Turn {
    /// Their URIs; empty: clients are told of none.
    pub uris: Vec<String>,
    /// The secret shared with them, of which credentials are made that are good for a while.
    pub shared_secret: Secret,
    /// The name of fixed credentials.
    pub username: String,
    /// Their password.
    pub password: Secret,
    /// How long credentials are good, in seconds.
    pub ttl_seconds: u32,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            shared_secret: Secret::default(),
            username: String::new(),
            password: Secret::default(),
            ttl_seconds: 86_400,
        }
    }
}

impl Turn {
    /// Clients need URIs that they understand, and credentials of one kind.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        for (index, uri) in self.uris.iter().enumerate() {
            let host = uri
                .strip_prefix("turn:")
                .or_else(|| uri.strip_prefix("turns:"));
            if host.is_none_or(str::is_empty) {
                let fix = "for instance: uris = [\"turn:turn.example.org:3478?transport=udp\"]";
                let key = format!("turn.uris.{index}");
                return Err(Fault::new(key, "does not begin with turn: or turns:", fix));
            }
        }
        if self.ttl_seconds == 0 {
            let fix = "write how long credentials are good, for instance 86400";
            return Err(Fault::new("turn.ttl_seconds", "must not be 0", fix));
        }
        let has_secret = !self.shared_secret.is_empty();
        let has_login = !self.username.is_empty() && !self.password.is_empty();
        let has_part = !self.username.is_empty() || !self.password.is_empty();
        if has_secret && has_part {
            let fix = "write either shared_secret, or username and password";
            return Err(Fault::new(
                "turn.shared_secret",
                "is not all that is set",
                fix,
            ));
        }
        if !self.uris.is_empty() && !has_secret && !has_login {
            let fix = "write shared_secret, or username and password";
            return Err(Fault::new("turn.uris", "need credentials", fix));
        }
        Ok(())
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "turn",
    repeated: false,
    doc: "The TURN servers through which calls go that don't get through otherwise. Clients are told of them when `uris` is not empty.",
    keys: &[
        Key {
            name: "uris",
            kind: Kind::List,
            value: Value::Default("[]"),
            doc: "Their URIs, such as \"turn:turn.example.org:3478?transport=udp\" or \"turns:turn.example.org:5349\".",
            built: true,
        },
        Key {
            name: "shared_secret",
            kind: Kind::Secret,
            value: Value::Default("\"\""),
            doc: "The secret that the TURN server shares (coturn: `static-auth-secret`). Each user gets credentials made of it that are good for a while.",
            built: true,
        },
        Key {
            name: "username",
            kind: Kind::Text,
            value: Value::Default("\"\""),
            doc: "Instead of a secret: the name that all users show.",
            built: true,
        },
        Key {
            name: "password",
            kind: Kind::Secret,
            value: Value::Default("\"\""),
            doc: "The password that belongs to it.",
            built: true,
        },
        Key {
            name: "ttl_seconds",
            kind: Kind::Integer,
            value: Value::Default("86400"),
            doc: "How long credentials are good; clients then ask for others.",
            built: true,
        },
    ],
};
