//! `[well_known]`: where clients and servers find this one:
//! <https://spec.matrix.org/v1.19/client-server-api/#well-known-uris>

use serde::Deserialize;

use crate::ServerName;
use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// What is served under `/.well-known/matrix/`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct WellKnown {
    /// The URL of the client API; empty: not served.
    pub client_base_url: String,
    /// The name and port that other servers connect to; empty: not served.
    pub server: String,
}

impl WellKnown {
    /// Refuses what a client or server could not follow.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let url = self.client_base_url.as_str();
        let host = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        if !url.is_empty() && host.is_none_or(str::is_empty) {
            let fix = "for instance: client_base_url = \"https://matrix.example.org\"";
            return Err(Fault::new(
                "well_known.client_base_url",
                "is not a URL",
                fix,
            ));
        }
        if !self.server.is_empty() && self.server.parse::<ServerName>().is_err() {
            let fix = "for instance: server = \"matrix.example.org:443\"";
            return Err(Fault::new("well_known.server", "is not a server name", fix));
        }
        Ok(())
    }
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "well_known",
    repeated: false,
    doc: "What is served under `/.well-known/matrix/`.",
    keys: &[
        Key {
            name: "client_base_url",
            kind: Kind::Text,
            value: Value::Default("\"\""),
            doc: "The URL of the client API. Served under `/.well-known/matrix/client` when set, by listeners that serve \"client\".",
            built: true,
        },
        Key {
            name: "server",
            kind: Kind::Text,
            value: Value::Default("\"\""),
            doc: "The name and port that other servers connect to, in place of `server_name`. Served under `/.well-known/matrix/server` when set, \
                  by listeners that serve \"client\" or \"federation\": other servers ask for it on port 443 of `server_name`.",
            built: true,
        },
    ],
};
