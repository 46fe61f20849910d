//! Whom to tell, by address: [`Disclose`] for hosts, their subdomains and ports, and for URLs that match a regular
//! expression.

use std::net::Ipv6Addr;

use http::Uri;

use crate::policy::Disclose;

/// A list of receivers, and what each is told. The first entry that matches a request's URL decides; where none does,
/// the receiver is told what the list was made with.
///
/// A host is written in one of these forms:
///
/// | form | matches |
/// | --- | --- |
/// | `api.example.com` | this host, at any port |
/// | `api.example.com:8443` | this host at this port; the scheme's own port (80 or 443) counts where a URL has none |
/// | `*.example.com` | every host under `example.com`, at any depth, and not `example.com` itself |
/// | `192.0.2.7`, `[2001:db8::7]:443` | this address |
///
/// Case does not matter, nor does the dot that may end a host's name. A host in another script is written in its ASCII
/// form (`xn--…`), which is how URLs hold it. Only the host of a URL counts: neither user information
/// (`http://api.example.com@evil.example/`) nor its path can make it look like another. A URL without a host (an
/// origin-form target, say) matches no host.
///
/// ```
/// use http::Uri;
/// use tagtrail::{Disclose, Targets};
///
/// let targets = Targets::otherwise(Disclose::Nothing)
///     .host("*.internal.example", Disclose::All)?
///     .host("api.partner.example:443", Disclose::TraceOnly)?;
///
/// let told = |url| targets.disclose(&Uri::from_static(url));
/// assert_eq!(told("http://users.internal.example/7"), Disclose::All);
/// assert_eq!(told("https://api.partner.example/"), Disclose::TraceOnly);
/// assert_eq!(told("https://internal.example.evil.example/"), Disclose::Nothing);
/// # Ok::<_, tagtrail::InvalidTarget>(())
/// ```
#[derive(Clone, Debug)]
pub struct Targets {
    entries: Vec<(Target, Disclose)>,
    otherwise: Disclose,
}

#[derive(Clone, Debug)]
enum Target {
    Host {
        host: Host,
        port: Option<u16>,
    },
    #[cfg(feature = "regex")]
    Url(regex::Regex),
}

#[derive(Clone, Debug, PartialEq)]
enum Host {
    Exact(String),
    /// What a host ends with, the dot included.
    Under(String),
    Ipv6(Ipv6Addr),
}

impl Targets {
    /// A list without entries: every receiver is told this.
    #[must_use]
    pub const fn otherwise(otherwise: Disclose) -> Self {
        Self { entries: Vec::new(), otherwise }
    }

    /// Adds a host.
    ///
    /// # Errors
    ///
    /// If `host` has none of the forms above: a scheme, a path, a `*` elsewhere, or characters outside ASCII.
    pub fn host(mut self, host: &str, told: Disclose) -> Result<Self, InvalidTarget> {
        self.entries.push((read_target(host).ok_or(InvalidTarget(Reason::Host))?, told));
        Ok(self)
    }

    /// Adds the URLs that match a regular expression, as a whole.
    ///
    /// The expression is held against `scheme://host:port/path?query`: the host in lower case, the port left out where
    /// the URL has none, without user information. It has to match all of that, so `https://api\.example\.com/.*` is
    /// never found in the middle of another URL. A dot in a host's name wants a backslash.
    ///
    /// ```
    /// use tagtrail::{Disclose, Targets};
    ///
    /// let targets = Targets::otherwise(Disclose::Nothing)
    ///     .url(r"https://[a-z]+\.example\.com/v[0-9]+/.*", Disclose::All)?;
    /// let url = "https://evil.example/?https://api.example.com/v1/".parse().unwrap();
    /// assert_eq!(targets.disclose(&url), Disclose::Nothing);
    /// # Ok::<_, tagtrail::InvalidTarget>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `regex` is no regular expression, or a very large one.
    #[cfg(feature = "regex")]
    pub fn url(mut self, regex: &str, told: Disclose) -> Result<Self, InvalidTarget> {
        // By itself first: `a)|(b` must not be mended by what goes around it.
        let whole = regex::Regex::new(regex).and_then(|_| regex::Regex::new(&format!(r"\A(?:{regex})\z")));
        let whole = whole.map_err(|error| InvalidTarget(Reason::Regex(error)))?;
        self.entries.push((Target::Url(whole), told));
        Ok(self)
    }

    /// What the receiver of a request to this URL is told.
    pub fn disclose(&self, uri: &Uri) -> Disclose {
        let told = self.entries.iter().find(|(target, _)| target.matches(uri)).map(|&(_, told)| told);
        told.unwrap_or(self.otherwise)
    }
}

impl Target {
    fn matches(&self, uri: &Uri) -> bool {
        match self {
            Self::Host { host, port } => {
                uri.host().is_some_and(|of_uri| host.matches(of_uri))
                    && port.is_none_or(|port| port_of(uri) == Some(port))
            }
            #[cfg(feature = "regex")]
            Self::Url(regex) => url_text(uri).is_some_and(|url| regex.is_match(&url)),
        }
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Ipv6(address) => ipv6(host) == Some(*address),
            Self::Exact(name) => without_dot(host).eq_ignore_ascii_case(name),
            Self::Under(end) => {
                let host = without_dot(host).as_bytes();
                // Something has to stand before the dot.
                let start = host.len().saturating_sub(end.len());
                start > 0 && host.get(start..).is_some_and(|last| last.eq_ignore_ascii_case(end.as_bytes()))
            }
        }
    }
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn port_of(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str()? {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    })
}

/// The URL that a regular expression is held against; none for a URL without scheme or host.
#[cfg(feature = "regex")]
fn url_text(uri: &Uri) -> Option<String> {
    let (scheme, host) = (uri.scheme_str()?, uri.host()?.to_ascii_lowercase());
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some(format!("{scheme}://{host}{port}{path}"))
}

/// Reads one of the forms of a host.
fn read_target(text: &str) -> Option<Target> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(read_port(port)?)),
        _ => (text, None),
    };
    Some(Target::Host { host: read_host(host)?, port })
}

fn read_port(port: &str) -> Option<u16> {
    // `u16` alone would take a sign.
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())?
}

fn read_host(host: &str) -> Option<Host> {
    if host.starts_with('[') {
        return ipv6(host).map(Host::Ipv6);
    }
    let (name, under) = match host.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (host, false),
    };
    let name = without_dot(name);
    let is_name = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match (name.split('.').all(is_name), under) {
        (false, _) => None,
        (true, true) => Some(Host::Under(format!(".{name}"))),
        (true, false) => Some(Host::Exact(name.to_owned())),
    }
}

/// An entry of [`Targets`] that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct InvalidTarget(Reason);

#[derive(Clone, Debug, thiserror::Error)]
enum Reason {
    #[error(
        "Invalid target: expected a host, in ASCII, with a port or without: `api.example.com`, `*.example.com:8443`, \
         `192.0.2.7` or `[2001:db8::7]`; a scheme or a path belongs in a regular expression"
    )]
    Host,
    #[cfg(feature = "regex")]
    #[error("Invalid target: expected a regular expression; the source of this error says where it is none")]
    Regex(#[source] regex::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack row 13: what is written in the list, a URL, and whether it matches.
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
        for &(target, url, matches) in ROWS {
            let targets = Targets::otherwise(Disclose::Nothing).host(target, Disclose::All).unwrap();
            let Ok(uri) = url.parse() else { panic!("{url} is no URI") };
            let told = if matches { Disclose::All } else { Disclose::Nothing };
            assert_eq!(targets.disclose(&uri), told, "{target} and {url}");
        }
    }

    #[test]
    fn the_first_entry_that_matches_decides() {
        let targets = Targets::otherwise(Disclose::Nothing)
            .host("public.example.com", Disclose::TraceOnly)
            .and_then(|targets| targets.host("*.example.com", Disclose::All))
            .unwrap();
        assert_eq!(targets.disclose(&Uri::from_static("http://public.example.com/")), Disclose::TraceOnly);
        assert_eq!(targets.disclose(&Uri::from_static("http://users.example.com/")), Disclose::All);
        assert_eq!(targets.disclose(&Uri::from_static("http://other.example/")), Disclose::Nothing);
    }

    #[test]
    fn what_is_no_host_is_refused_with_advice() {
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
            let error = Targets::otherwise(Disclose::Nothing).host(text, Disclose::All).unwrap_err();
            assert!(error.to_string().starts_with("Invalid target: expected a host, in ASCII"), "{text:?}: {error}");
        }
    }

    #[cfg(feature = "regex")]
    #[test]
    fn a_regular_expression_matches_the_whole_url() {
        let told = |regex: &str, url: &str| {
            Targets::otherwise(Disclose::Nothing).url(regex, Disclose::All).unwrap().disclose(&url.parse().unwrap())
                == Disclose::All
        };
        for (regex, url, matches) in [
            (r"https://a\.example/.*", "https://a.example/", true),
            (r"https://a\.example/.*", "https://A.EXAMPLE/b?c=d", true),
            (r"https://a\.example/.*", "https://user@a.example/", true),
            (r"https://a\.example/.*", "https://a.example:8443/", false),
            (r"https://a\.example:8443/.*", "https://a.example:8443/b", true),
            (r"https://a\.example/.*", "http://a.example/", false),
            (r"https://a\.example/.*", "https://a.example@evil.example/", false),
            (r"https://a\.example/.*", "https://evil.example/?https://a.example/", false),
            (r"https://a\.example/", "https://a.example/b", false),
            (r"a\.example", "https://a.example/", false),
            (r"https://a\.example/|https://b\.example/", "https://b.example/", true),
            (r"https://a\.example/|https://b\.example/", "https://a.example/b", false),
            (r".*", "/", false),
        ] {
            assert_eq!(told(regex, url), matches, "{regex} and {url}");
        }
        for bad in ["(", "a)|(b", "(?x) a # ("] {
            let error = Targets::otherwise(Disclose::Nothing).url(bad, Disclose::All).map(|_| ()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "Invalid target: expected a regular expression; the source of this error says where it is none",
                "{bad}"
            );
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("error") && !source.contains("Invalid target"), "{bad}: {source}");
        }
    }
}
