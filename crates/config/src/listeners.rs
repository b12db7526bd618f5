//! `[[listeners]]`: where the server listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use crate::Network;
use crate::error::Fault;
use crate::keys::{Key, Kind, Section, Value};

/// One address that the server listens on, plain or with TLS.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// The address and port.
    pub address: SocketAddr,
    /// What it answers.
    pub serves: Vec<Serves>,
    /// Its certificate and key; plain HTTP without.
    pub tls: Option<Tls>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8008)),
            serves: vec![Serves::Client, Serves::Federation, Serves::Web],
            tls: None,
            trusted_proxies: Vec::new(),
        }
    }
}

/// A part of the server that a listener answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// The client-server API.
    Client,
    /// The server-server API.
    Federation,
    /// The web client.
    Web,
    /// The admin API, `/_synapse/admin/v1/register` included.
    Admin,
    /// `GET /_starling/metrics`.
    Metrics,
    /// The identity service API.
    Identity,
}

impl Serves {
    /// The word in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Federation => "federation",
            Self::Web => "web",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
            Self::Identity => "identity",
        }
    }

    /// Whether that part exists.
    pub(crate) fn is_built(self) -> bool {
        !matches!(self, Self::Web | Self::Identity)
    }
}

/// A listener's certificate and key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tls {
    /// The PEM file of the certificate and those up to the root, the server's own first.
    pub certificate: PathBuf,
    /// The PEM file of its private key.
    pub key: PathBuf,
}

/// There is at least one listener, none twice, and none that answers nothing.
pub(crate) fn check(listeners: &[Listener]) -> Result<(), Fault> {
    if listeners.is_empty() {
        return Err(Fault::new(
            "listeners",
            "there is none",
            "write at least one [[listeners]] with an address",
        ));
    }
    for (index, listener) in listeners.iter().enumerate() {
        if listener.serves.is_empty() {
            return Err(Fault::new(
                format!("listeners.{index}.serves"),
                "the listener would answer nothing",
                "write what it answers, such as serves = [\"client\"], or leave the listener out",
            ));
        }
        let earlier = listeners.iter().take(index);
        // Port 0 asks the system for any free port, so it may stand more than once.
        if listener.address.port() != 0
            && earlier
                .into_iter()
                .any(|other| other.address == listener.address)
        {
            let problem = format!("{} is used by an earlier listener", listener.address);
            return Err(Fault::new(
                format!("listeners.{index}.address"),
                problem,
                "give each listener its own port",
            ));
        }
    }
    Ok(())
}

/// Its keys.
pub(crate) const SECTION: Section = Section {
    name: "listeners",
    repeated: true,
    doc: "Where the server listens. It may stand several times; each is plain or TLS.",
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text,
            value: Value::Default("\"127.0.0.1:8008\""),
            doc: "The address and port.",
            built: true,
        },
        Key {
            name: "serves",
            kind: Kind::List,
            value: Value::Default("[\"client\", \"federation\", \"web\"]"),
            doc: "What it answers. Also \"admin\" (the admin API, `/_synapse/admin/v1/register` included), \"metrics\" and \
                  \"identity\". \"web\" and \"identity\" are not built yet. \
                  `GET /_starling/health` is answered by all.",
            built: true,
        },
        Key {
            name: "tls",
            kind: Kind::Table,
            value: Value::Absent("{ certificate = \"cert.pem\", key = \"key.pem\" }"),
            doc: "Its certificate and key; plain HTTP without. Both files are read again on SIGHUP.",
            built: true,
        },
        Key {
            name: "tls.certificate",
            kind: Kind::Path,
            value: Value::Required("\"cert.pem\""),
            doc: "PEM file of the certificate and those up to the root, the server's own first.",
            built: true,
        },
        Key {
            name: "tls.key",
            kind: Kind::Path,
            value: Value::Required("\"key.pem\""),
            doc: "PEM file of its private key.",
            built: true,
        },
        Key {
            name: "trusted_proxies",
            kind: Kind::List,
            value: Value::Default("[]"),
            doc: "Addresses, or ranges such as \"10.0.0.0/8\", whose `X-Forwarded-For` is believed.",
            built: true,
        },
    ],
};
