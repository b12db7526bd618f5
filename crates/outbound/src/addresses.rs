//! Where connections may go. Names are chosen by strangers: one that leads to this machine or to the network behind it
//! must not be followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses connections may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Those of the public internet.
    Public,
    /// All. For tests, and for networks that are closed to begin with.
    All,
}

impl Addresses {
    /// Whether a connection to this address may be opened.
    #[must_use]
    pub fn allow(self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Public => is_public(address),
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(address) => is_public_v4(address),
            None => is_public_v6(address),
        },
    }
}

/// By the registry of special-purpose addresses: <https://www.iana.org/assignments/iana-ipv4-special-registry/>
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        // This network; private; loopback; multicast, reserved and broadcast.
        (0 | 10 | 127 | 224..=255, _, _)
            // Between a provider and its customers; of one link; private.
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            // For protocols, documentation, 6to4 relays and measurements.
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !is_special
}

/// What isn't of the global unicast block, and of that what isn't reachable everywhere:
/// <https://www.iana.org/assignments/iana-ipv6-special-registry/>
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global_unicast = first & 0xe000 == 0x2000;
    let is_protocol = first == 0x2001 && second < 0x0200;
    let is_documentation = (first == 0x2001 && second == 0x0db8) || first & 0xfff0 == 0x3ff0;
    is_global_unicast && !is_protocol && !is_documentation
}

/// The address that a mapped, translated (NAT64) or 6to4 address leads to.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> bool {
        Addresses::Public.allow(text.parse().expect("an address"))
    }

    #[test]
    fn special_addresses_are_refused() {
        let special = [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.7",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "64:ff9b:1::1",
        ];
        for address in special {
            assert!(!allowed(address), "{address}");
            assert!(Addresses::All.allow(address.parse().expect("an address")));
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        let public = [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ];
        for address in public {
            assert!(allowed(address), "{address}");
        }
    }
}
