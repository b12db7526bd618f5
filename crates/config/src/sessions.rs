//! `[sessions]`: how long tokens are good.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// How long tokens are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// Seconds until an access token must be renewed, by clients that can.
    pub access_token_seconds: u32,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            access_token_seconds: 300,
        }
    }
}

impl Sessions {
    /// How long the access token of a client that renews it is good.
    #[must_use]
    pub fn access_token_lifetime(self) -> Duration {
        Duration::from_secs(self.access_token_seconds.into())
    }

    /// Refuses tokens that nobody could use.
    pub(crate) fn check(self) -> Result<(), Fault> {
        if self.access_token_seconds == 0 {
            return Err(Fault::new(
                "sessions.access_token_seconds",
                "no token would ever be good",
                "write at least 1",
            ));
        }
        Ok(())
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "sessions",
    repeated: false,
    doc: "How long tokens are good.",
    keys: &[Key {
        name: "access_token_seconds",
        kind: Kind::Integer,
        value: Value::Default("300"),
        doc: "How long an access token is good that came with a refresh token, which clients ask for that can renew it. Those of \
              other clients don't expire.",
        built: true,
    }],
};
