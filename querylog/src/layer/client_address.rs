//! The address of the client: that of the peer, or the one that a trusted proxy forwards.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;

use crate::layer::forwarded::ForwardedBy;
use crate::layer::framework;

type Peer = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;
type Trusted = dyn Fn(IpAddr) -> bool + Send + Sync;

#[derive(Clone)]
pub(crate) struct ClientAddress {
    pub(crate) peer: Arc<Peer>,
    pub(crate) trusted: Option<Arc<Trusted>>,
    pub(crate) forwarded_by: ForwardedBy,
}

/// How many proxies are followed.
const MAX_PROXIES: usize = 64;

impl Default for ClientAddress {
    fn default() -> Self {
        let peer = Arc::new(|parts: &Parts| framework::peer(&parts.extensions));
        Self { peer, trusted: None, forwarded_by: ForwardedBy::default() }
    }
}

impl ClientAddress {
    pub(crate) fn of(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = (self.peer)(parts)?.to_canonical();
        match &self.trusted {
            Some(trusted) => client(peer, &parts.headers, self.forwarded_by, &**trusted),
            None => Some(peer),
        }
    }
}

/// Follows the forwarded addresses backwards from the peer, as long as each is a trusted proxy. What a client wrote
/// there itself is to the left of the first that is not. `None` if the last trusted proxy does not name an address.
fn client(peer: IpAddr, headers: &HeaderMap, by: ForwardedBy, trusted: &Trusted) -> Option<IpAddr> {
    let mut client = peer;
    for forwarded in by.addresses(headers).take(MAX_PROXIES) {
        if !trusted(client) {
            break;
        }
        client = forwarded?;
    }
    Some(client)
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAddress")
            .field("trusts_proxies", &self.trusted.is_some())
            .field("forwarded_by", &self.forwarded_by)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_what_the_last_trusted_proxy_names() {
        let proxies = |ip: IpAddr| ip.to_string().starts_with("10.");
        for (peer, list, expected) in [
            ("203.0.113.9", "198.51.100.1", Some("203.0.113.9")),
            ("10.0.0.1", "198.51.100.1", Some("198.51.100.1")),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", Some("198.51.100.1")),
            ("10.0.0.1", "1.1.1.1, unknown", None),
            ("10.0.0.1", "1.1.1.1, _hidden, 10.0.0.2", None),
            ("10.0.0.1", "unknown, 198.51.100.1", Some("198.51.100.1")),
            ("10.0.0.1", "", Some("10.0.0.1")),
            ("10.0.0.1", "10.0.0.3", Some("10.0.0.3")),
        ] {
            let standard =
                list.split(", ").map(|node| if node.is_empty() { String::new() } else { format!("for={node}") });
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", list.parse().unwrap());
            headers.insert("forwarded", standard.collect::<Vec<_>>().join(", ").parse().unwrap());
            for by in [ForwardedBy::XForwardedFor, ForwardedBy::Standard] {
                let found = client(peer.parse().unwrap(), &headers, by, &proxies);
                assert_eq!(found, expected.map(|ip| ip.parse().unwrap()), "{peer} {list}");
                headers.remove(if by == ForwardedBy::XForwardedFor { "x-forwarded-for" } else { "forwarded" });
                let found = client(peer.parse().unwrap(), &headers, by, &proxies);
                assert_eq!(found, Some(peer.parse().unwrap()), "the other header is not read");
            }
        }
    }

    #[test]
    fn number_of_proxies_that_are_followed_has_a_limit() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "10.0.0.1, ".repeat(10_000).parse().unwrap());
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let all = move |_: IpAddr| counts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < usize::MAX;
        let found = client([10, 0, 0, 2].into(), &headers, ForwardedBy::XForwardedFor, &all);
        assert_eq!(found, Some([10, 0, 0, 1].into()));
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), MAX_PROXIES);
    }
}
