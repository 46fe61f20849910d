//! Disclosure rules by receiver: hosts, their subdomains and ports, and URLs that match a regular expression.

mod host;
#[cfg(feature = "regex")]
mod url;

use std::fmt;
use std::sync::Arc;

use http::Uri;

use self::host::HostPattern;
#[cfg(feature = "regex")]
use self::url::UrlPattern;
use super::disclose::Disclose;

/// A list of receivers, and what each is sent. The first matching entry applies; if none matches, the default given to
/// the constructor does.
///
/// A host is written in one of these forms:
///
/// | form | matches |
/// | --- | --- |
/// | `api.example.com` | this host, at any port |
/// | `api.example.com:8443` | this host at this port; a URL without a port has that of its scheme (80 or 443) |
/// | `*.example.com` | every host under `example.com`, at any depth, but not `example.com` itself |
/// | `192.0.2.7`, `[2001:db8::7]:443` | this address |
///
/// Case does not matter, and neither does a dot at the end of a host's name. Write a host in another script in its
/// ASCII form (`xn--…`), as URLs do. Only the host of a URL counts: neither user information
/// (`http://api.example.com@evil.example/`) nor the path can make it look like another. A URL without a host (such as
/// an origin-form target) matches no host.
///
/// ```
/// use http::Uri;
/// use tagtrail::{Disclose, Targets};
///
/// let targets = Targets::with_default(Disclose::Nothing)
///     .host("*.internal.example", Disclose::All)?
///     .host("api.partner.example:443", Disclose::TraceOnly)?;
///
/// let disclosed = |url| targets.for_uri(&Uri::from_static(url));
/// assert_eq!(disclosed("http://users.internal.example/7"), Disclose::All);
/// assert_eq!(disclosed("https://api.partner.example/"), Disclose::TraceOnly);
/// assert_eq!(disclosed("https://internal.example.evil.example/"), Disclose::Nothing);
/// # Ok::<_, tagtrail::InvalidTarget>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Targets {
    entries: Vec<(Arc<dyn Pattern>, Disclose)>,
    default: Disclose,
}

/// What an entry matches.
trait Pattern: fmt::Debug + Send + Sync {
    fn matches(&self, uri: &Uri) -> bool;
}

impl Targets {
    /// Creates a list without entries: every receiver is sent as much as `default` allows.
    pub const fn with_default(default: Disclose) -> Self {
        Self { entries: Vec::new(), default }
    }

    /// Adds a host.
    ///
    /// # Errors
    ///
    /// Returns an error if `host` has none of the forms above: for example a scheme, a path, a `*` elsewhere, or
    /// characters outside ASCII.
    pub fn host(self, host: &str, disclose: Disclose) -> Result<Self, InvalidTarget> {
        let pattern = HostPattern::parse(host).ok_or(InvalidTarget(ErrorKind::Host))?;
        Ok(self.entry(pattern, disclose))
    }

    /// Adds the URLs that a regular expression matches as a whole.
    ///
    /// The expression is matched against `scheme://host:port/path?query`: the host is in lower case and without a dot at
    /// its end, the port is left out if the URL has none, and so is user information. It has to match all of that, so
    /// `https://api\.example\.com/.*` never matches in the middle of another URL. Escape the dots in a host's name.
    ///
    /// ```
    /// use tagtrail::{Disclose, Targets};
    ///
    /// let targets = Targets::with_default(Disclose::Nothing)
    ///     .url_regex(r"https://[a-z]+\.example\.com/v[0-9]+/.*", Disclose::All)?;
    /// let url = "https://evil.example/?https://api.example.com/v1/".parse().unwrap();
    /// assert_eq!(targets.for_uri(&url), Disclose::Nothing);
    /// # Ok::<_, tagtrail::InvalidTarget>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if `regex` is not a valid regular expression, or exceeds the size limit of the `regex` crate.
    #[cfg(feature = "regex")]
    pub fn url_regex(self, regex: &str, disclose: Disclose) -> Result<Self, InvalidTarget> {
        let pattern = UrlPattern::parse(regex).map_err(|error| InvalidTarget(ErrorKind::Regex(error)))?;
        Ok(self.entry(pattern, disclose))
    }

    fn entry(mut self, pattern: impl Pattern + 'static, disclose: Disclose) -> Self {
        self.entries.push((Arc::new(pattern), disclose));
        self
    }

    /// Returns what a request to this URL discloses.
    pub fn for_uri(&self, uri: &Uri) -> Disclose {
        let entry = self.entries.iter().find(|(pattern, _)| pattern.matches(uri));
        entry.map_or(self.default, |&(_, disclose)| disclose)
    }
}

/// The error of an entry of [`Targets`] that cannot be parsed.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct InvalidTarget(ErrorKind);

#[derive(Clone, Debug, thiserror::Error)]
enum ErrorKind {
    #[error(
        "invalid target: expected a host, in ASCII, with or without a port, such as `api.example.com`, \
         `*.example.com:8443`, `192.0.2.7` or `[2001:db8::7]`; use a regular expression for a scheme or a path"
    )]
    Host,
    #[cfg(feature = "regex")]
    #[error("invalid target: invalid regular expression")]
    Regex(#[source] regex::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_matching_entry_applies() {
        let targets = Targets::with_default(Disclose::Nothing)
            .host("public.example.com", Disclose::TraceOnly)
            .and_then(|targets| targets.host("*.example.com", Disclose::All))
            .unwrap();
        assert_eq!(targets.for_uri(&Uri::from_static("http://public.example.com/")), Disclose::TraceOnly);
        assert_eq!(targets.for_uri(&Uri::from_static("http://users.example.com/")), Disclose::All);
        assert_eq!(targets.for_uri(&Uri::from_static("http://other.example/")), Disclose::Nothing);
    }
}
