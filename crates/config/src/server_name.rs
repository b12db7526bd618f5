//! A server's name: <https://spec.matrix.org/v1.19/appendices/#server-name>

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::Deserialize;

/// The longest DNS name, in bytes.
const MAX_DNS_NAME: usize = 255;
/// The longest part of one, in bytes.
const MAX_DNS_LABEL: usize = 63;

/// A name that follows the specification's grammar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerName(String);

/// Text that is no server name; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a server name: {0}")]
pub struct InvalidServerName(&'static str);

impl ServerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What speaks against it as the name of a server that is yet to be: the grammar has names that no host can have, and
    /// advises against others. The error is the problem and the fix.
    pub(crate) fn check_own(&self) -> Result<(), (&'static str, String)> {
        if self.0.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let lower = format!("write {:?}", self.0.to_ascii_lowercase());
            return Err((
                "has capital letters: names that differ in them are different servers",
                lower,
            ));
        }
        let host = self.0.split(':').next().unwrap_or_default();
        let is_label = |label: &str| {
            (1..=MAX_DNS_LABEL).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if self.0.starts_with('[') || host.split('.').all(is_label) {
            return Ok(());
        }
        Err((
            "is no name that a host can have: between dots there are 1 to 63 characters, and no hyphen is the first or last of them",
            "write a name that you have in the DNS, such as \"example.org\"".to_owned(),
        ))
    }
}

impl Default for ServerName {
    fn default() -> Self {
        Self("localhost".to_owned())
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ServerName {
    type Error = InvalidServerName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        check(&text).map(|()| Self(text)).map_err(InvalidServerName)
    }
}

impl FromStr for ServerName {
    type Err = InvalidServerName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.contains('/') {
        return Err("it is a host, perhaps with a port, and no URL");
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
        // The grammar's characters leave out the zone (`%eth0`) that the standard library accepts.
        let plain = address
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        if !plain || address.parse::<Ipv6Addr>().is_err() {
            return Err("what stands in brackets is no IPv6 address");
        }
        return match port.strip_prefix(':') {
            Some(port) => check_port(port),
            None if port.is_empty() => Ok(()),
            None => Err("only a port may follow the bracket"),
        };
    }
    let host = match text.split_once(':') {
        Some((host, port)) => check_port(port).map(|()| host)?,
        None => text,
    };
    check_host(host)
}

fn check_port(port: &str) -> Result<(), &'static str> {
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    if digits && port.parse::<u16>().is_ok() {
        Ok(())
    } else {
        Err("the port is no number up to 65535")
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() || host.len() > MAX_DNS_NAME {
        return Err("the host has no or more than 255 characters");
    }
    if !host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    {
        return Err("a host has only letters, digits, hyphens and dots");
    }
    let parts: Vec<&str> = host.split('.').collect();
    let numeric = parts.len() == 4
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric
        && !parts
            .iter()
            .all(|part| part.len() <= 3 && part.parse::<u8>().is_ok())
    {
        return Err("the parts of an IPv4 address are numbers up to 255");
    }
    Ok(())
}
