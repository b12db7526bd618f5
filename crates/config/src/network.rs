//! An address, or a range of addresses.

use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;

/// An address (`10.0.0.7`) or a range (`10.0.0.0/8`, `fd00::/8`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not an address or a range of addresses such as 10.0.0.0/8")]
pub struct InvalidNetwork;

impl Network {
    /// Whether an address lies in it. An IPv4 address written as IPv6 (`::ffff:10.0.0.7`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => same(
                mine.to_bits().into(),
                other.to_bits().into(),
                32 - self.prefix,
            ),
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                same(mine.to_bits(), other.to_bits(), 128 - self.prefix)
            }
            _ => false,
        }
    }
}

/// Whether two addresses are equal but for their last bits.
fn same(mine: u128, other: u128, free_bits: u8) -> bool {
    let mask = u128::MAX.checked_shl(free_bits.into()).unwrap_or(0);
    mine & mask == other & mask
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (
                address,
                Some(prefix.parse::<u8>().map_err(|_| InvalidNetwork)?),
            ),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest {
            Err(InvalidNetwork)
        } else {
            Ok(Self { address, prefix })
        }
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
