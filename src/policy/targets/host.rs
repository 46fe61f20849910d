//! Hosts: by name, by the domain they are under, or by address.

use std::net::Ipv6Addr;

use http::Uri;

use super::Pattern;

#[derive(Debug)]
pub(super) struct HostPattern {
    host: Host,
    /// Any port, if there is none.
    port: Option<u16>,
}

#[derive(Debug)]
enum Host {
    Exact(String),
    /// What a host ends with, including the dot.
    Under(String),
    Ipv6(Ipv6Addr),
}

impl HostPattern {
    /// Parses one of the forms of a host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (text, None),
        };
        Some(Self { host: Host::parse(host)?, port })
    }
}

impl Pattern for HostPattern {
    fn matches(&self, uri: &Uri) -> bool {
        uri.host().is_some_and(|host| self.host.matches(host))
            && self.port.is_none_or(|port| port_of(uri) == Some(port))
    }
}

fn parse_port(port: &str) -> Option<u16> {
    // `u16` alone would accept a sign.
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())?
}

impl Host {
    fn parse(host: &str) -> Option<Self> {
        if host.starts_with('[') {
            return parse_ipv6(host).map(Self::Ipv6);
        }
        let (name, is_under) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (host, false),
        };
        let name = without_dot(name);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        match (name.split('.').all(is_label), is_under) {
            (false, _) => None,
            (true, true) => Some(Self::Under(format!(".{name}"))),
            (true, false) => Some(Self::Exact(name.to_owned())),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Ipv6(address) => parse_ipv6(host) == Some(*address),
            Self::Exact(name) => without_dot(host).eq_ignore_ascii_case(name),
            Self::Under(end) => {
                let host = without_dot(host).as_bytes();
                // At least one character has to stand before the dot.
                let start = host.len().saturating_sub(end.len());
                start > 0 && host.get(start..).is_some_and(|last| last.eq_ignore_ascii_case(end.as_bytes()))
            }
        }
    }
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn parse_ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn port_of(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str()? {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::policy::disclose::Disclose;
    use crate::policy::targets::Targets;

    /// An entry of the list, a URL, and whether the entry matches it.
    const ROWS: &[(&str, &str, bool)] = &[
        ("example.com", "http://example.com/", true),
        ("example.com", "https://example.com", true),
        ("example.com", "https://EXAMPLE.com/a?b", true),
        ("EXAMPLE.COM", "https://example.com/", true),
        ("example.com", "https://example.com:8443/", true),
        ("example.com", "https://example.com./", true),
        ("example.com.", "https://example.com/", true),
        ("example.com", "https://user:password@example.com/", true),
        ("example.com", "example.com:443", true),
        ("example.com", "https://api.example.com/", false),
        ("example.com", "https://example.com.evil/", false),
        ("example.com", "https://example.com.evil.example/", false),
        ("example.com", "https://evil-example.com/", false),
        ("example.com", "https://evilexample.com/", false),
        ("example.com", "https://example.co/", false),
        ("example.com", "https://example.com@evil.example/", false),
        ("example.com", "https://example.com:pw@evil.example/", false),
        ("example.com", "https://evil.example/example.com", false),
        ("example.com", "https://evil.example/?example.com", false),
        ("example.com", "/example.com", false),
        ("example.com", "*", false),
        ("example.com:443", "https://example.com/", true),
        ("example.com:443", "example.com:443", true),
        ("example.com:443", "example.com", false),
        ("example.com:443", "wss://example.com/", true),
        ("example.com:443", "http://example.com:443/", true),
        ("example.com:443", "http://example.com/", false),
        ("example.com:80", "http://example.com/", true),
        ("example.com:80", "ws://example.com/", true),
        ("example.com:8443", "https://example.com:8443/", true),
        ("example.com:8443", "https://example.com:443/", false),
        ("example.com:8443", "https://example.com:08443/", true),
        ("example.com:70", "gopher://example.com/", false),
        ("*.example.com", "https://api.example.com/", true),
        ("*.example.com", "https://a.b.example.com/", true),
        ("*.example.com", "https://API.EXAMPLE.COM./", true),
        ("*.example.com", "https://example.com/", false),
        ("*.example.com", "https://.example.com/", false),
        ("*.example.com", "https://evil-example.com/", false),
        ("*.example.com", "https://evilexample.com/", false),
        ("*.example.com", "https://api.example.com.evil/", false),
        ("*.example.com", "https://api.example.com@evil/", false),
        ("*.example.com:8443", "https://api.example.com:8443/", true),
        ("*.example.com:8443", "https://api.example.com/", false),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example/", true),
        ("xn--bcher-kva.example", "https://bcher-kva.example/", false),
        ("localhost", "http://localhost:3000/", true),
        ("localhost", "http://localhost.evil.example/", false),
        ("127.0.0.1", "http://127.0.0.1:3000/", true),
        ("127.0.0.1", "http://127.0.0.10/", false),
        ("127.0.0.1", "http://127.0.0.1.evil.example/", false),
        ("127.0.0.1", "http://2130706433/", false),
        ("*.0.0.1", "http://127.0.0.1/", true),
        ("[::1]", "http://[::1]:3000/", true),
        ("[::1]", "http://[0:0:0:0:0:0:0:1]/", true),
        ("[::1]", "http://[::2]/", false),
        ("[::1]:80", "http://[::1]/", true),
        ("[::1]:80", "http://[::1]:81/", false),
        ("[2001:DB8::7]", "http://[2001:db8::7]/", true),
        ("[::ffff:127.0.0.1]", "http://127.0.0.1/", false),
        ("under_score.example", "http://under_score.example/", true),
    ];

    #[test]
    fn hosts_match_by_the_rows() {
        for &(host, url, matches) in ROWS {
            let targets = Targets::with_default(Disclose::Nothing).host(host, Disclose::All).unwrap();
            let Ok(uri) = url.parse() else { panic!("{url} is not a URI") };
            let expected = if matches { Disclose::All } else { Disclose::Nothing };
            assert_eq!(targets.for_uri(&uri), expected, "{host} and {url}");
        }
    }

    #[test]
    fn invalid_hosts_are_rejected_with_advice() {
        for text in [
            "",
            "*",
            "*.",
            ".",
            "a..b",
            ".a",
            "http://a",
            "a/b",
            "a:",
            "a:b",
            "a:+1",
            "a:65536",
            "a.*.b",
            "*a.b",
            "b\u{fc}cher.example",
            "a b",
            "user@a",
            "[::1",
            "::1",
            "[::1]x",
            "[]",
            "a:1:2",
            "a\n",
        ] {
            let error = Targets::with_default(Disclose::Nothing).host(text, Disclose::All).unwrap_err();
            assert!(error.to_string().starts_with("invalid target: expected a host, in ASCII"), "{text:?}: {error}");
        }
    }
}
