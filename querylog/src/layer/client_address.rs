//! The address of the client: that of the peer, or the one that a trusted proxy forwards.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;

use crate::layer::framework;

type Peer = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;
type Trusted = dyn Fn(IpAddr) -> bool + Send + Sync;

#[derive(Clone)]
pub(crate) struct ClientAddress {
    pub(crate) peer: Arc<Peer>,
    pub(crate) trusted: Option<Arc<Trusted>>,
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self { peer: Arc::new(|head| framework::peer(&head.extensions)), trusted: None }
    }
}

impl ClientAddress {
    pub(crate) fn of(&self, head: &Parts) -> Option<IpAddr> {
        let peer = (self.peer)(head)?.to_canonical();
        match &self.trusted {
            Some(trusted) => Some(forwarded(peer, &head.headers, &**trusted)),
            None => Some(peer),
        }
    }
}

/// Follows `x-forwarded-for` backwards from the peer, as long as each address is a trusted proxy. What a client wrote
/// there itself is to the left of the first that is not.
fn forwarded(peer: IpAddr, headers: &HeaderMap, trusted: &Trusted) -> IpAddr {
    let mut client = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    for hop in lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b',')) {
        if !trusted(client) {
            break;
        }
        match address(hop) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, with or without a port; one of version 6 with or without brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim();
    let unbracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let plain = unbracketed.parse().ok();
    plain.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip())).map(|ip: IpAddr| ip.to_canonical())
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAddress").field("trusts_proxies", &self.trusted.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_the_last_address_that_is_not_a_trusted_proxy() {
        let proxies = |ip: IpAddr| ip.to_string().starts_with("10.");
        for (peer, header, client) in [
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
            ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
            ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", header.parse().unwrap());
            let found = forwarded(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found.to_string(), client, "{peer} {header}");
        }
        let mut lines = HeaderMap::new();
        lines.append("x-forwarded-for", "1.1.1.1".parse().unwrap());
        lines.append("x-forwarded-for", "198.51.100.1, 10.0.0.2".parse().unwrap());
        assert_eq!(forwarded("10.0.0.1".parse().unwrap(), &lines, &proxies).to_string(), "198.51.100.1");
    }
}
