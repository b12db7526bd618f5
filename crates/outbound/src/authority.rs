//! A server name taken apart: <https://spec.matrix.org/v1.19/appendices/#server-name>

use std::fmt;
use std::net::IpAddr;

use ruma_common::ServerName;

/// A host and perhaps a port: a server's name, or the one that it delegates to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
    /// As it is written: the `Host` header.
    text: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(Box<str>),
}

impl Authority {
    /// Takes a server name apart.
    #[must_use]
    pub fn of(server: &ServerName) -> Self {
        let name = server.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let host = match bare.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(name.to_ascii_lowercase().into()),
        };
        Self {
            host,
            port: server.port(),
            text: server.as_str().into(),
        }
    }

    /// Reads one from text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        <&ServerName>::try_from(text).ok().map(Self::of)
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The port that it names.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The `Host` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
