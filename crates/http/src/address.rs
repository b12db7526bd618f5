//! Where a request comes from, also behind proxies.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use starling_config::Network;

/// The other end of the connection; it stands among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The caller's address: the peer's, or what trusted proxies say of it. None when a router is called without a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

/// The bits of an IPv6 address that its owner may choose at will.
const IPV6_HOST_BITS: u32 = 64;

/// What limits take for one address: an IPv6 subscriber has at least a /64 to choose from.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

/// Goes from the peer back along `X-Forwarded-For` as long as the addresses are of trusted proxies: what a trusted proxy
/// wrote is true, and whatever stands left of an untrusted address may be made up.
pub(crate) fn client_address(peer: IpAddr, trusted: &[Network], headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let lines = headers.get_all("x-forwarded-for").into_iter().rev();
    // Split before it is text: what the client wrote into a line hides nothing that a proxy added to it.
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut address = peer.to_canonical();
    for hop in hops {
        if !is_trusted(address) {
            break;
        }
        match str::from_utf8(hop).ok().and_then(|hop| parse(hop.trim())) {
            Some(before) => address = before.to_canonical(),
            None => break,
        }
    }
    address
}

/// Whether it seems that a proxy was forgotten in the configuration: a peer of this machine or network, which nobody
/// outside can be, names whom it asks for, and isn't believed.
pub(crate) fn is_unknown_proxy(peer: IpAddr, trusted: &[Network], headers: &HeaderMap) -> bool {
    let is_near = match peer.to_canonical() {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private(),
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local(),
    };
    let is_trusted = trusted.iter().any(|network| network.contains(peer));
    is_near && !is_trusted && headers.contains_key("x-forwarded-for")
}

/// An address, with or without a port and brackets.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|hop| hop.strip_suffix(']'))
        .unwrap_or(hop);
    bare.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
