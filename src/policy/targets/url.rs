//! URLs that a regular expression matches as a whole.

use http::Uri;
use regex::{Error, Regex};

use super::Pattern;

#[derive(Debug)]
pub(super) struct UrlPattern(Regex);

impl UrlPattern {
    pub(super) fn parse(regex: &str) -> Result<Self, Error> {
        // By itself first: `a)|(b` must not become valid by what is put around it.
        Regex::new(regex)?;
        // With the flag `x`, a comment at the end would hide the parenthesis after it; a line feed ends the comment,
        // and means nothing itself there.
        let whole = Regex::new(&format!(r"\A(?:{regex})\z"));
        whole.or_else(|_| Regex::new(&format!("\\A(?:{regex}\n)\\z"))).map(Self)
    }
}

impl Pattern for UrlPattern {
    fn matches(&self, uri: &Uri) -> bool {
        text(uri).is_some_and(|url| self.0.is_match(&url))
    }
}

/// Returns the text that the expression is matched against; `None` for a URL without a scheme or a host.
fn text(uri: &Uri) -> Option<String> {
    let (scheme, host) = (uri.scheme_str()?, uri.host()?.to_ascii_lowercase());
    let host = host.strip_suffix('.').unwrap_or(&host);
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    // Not `path_and_query`, which has no slash if the URL has a query and no path.
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}{path}{query}"))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use crate::policy::disclose::Disclose;
    use crate::policy::targets::Targets;

    #[test]
    fn regular_expression_matches_the_whole_url() {
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
            // A query without a path, and a dot at the end of the host.
            (r"https://[^/]+\.internal\.example/.*", "https://evil.example?x.internal.example/a", false),
            (r"https://[^/]+\.internal\.example/.*", "https://a.internal.example?x", true),
            (r"https://a\.example/\?b", "https://a.example?b", true),
            (r"https://a\.example/.*", "https://a.example./b", true),
            // Comments, of which the last one is not ended by a line feed.
            (r"(?x) https://a\.example/ .* # any path", "https://a.example/b", true),
            (r"(?x) https://a\.example/ .* # any path", "https://b.example/", false),
            (r"(?x) https://a\.example/ # the root", "https://a.example/b", false),
            (r"(?x) https://a\.example/ # (", "https://a.example/", true),
            (r"https://a\.example/(?x) # |.*", "https://a.example/b", false),
        ] {
            let targets = Targets::with_default(Disclose::Nothing).url_regex(regex, Disclose::All).unwrap();
            let disclosed = targets.for_uri(&url.parse().unwrap());
            assert_eq!(disclosed, if matches { Disclose::All } else { Disclose::Nothing }, "{regex} and {url}");
        }
    }

    #[test]
    fn invalid_regular_expression_is_rejected_with_its_source() {
        for invalid in ["(", "a)|(b", "(?x) a # b\n (", r"(a{1000}){1000}"] {
            let error = Targets::with_default(Disclose::Nothing).url_regex(invalid, Disclose::All).unwrap_err();
            assert_eq!(error.to_string(), "invalid target: invalid regular expression", "{invalid}");
            let source = error.source().unwrap().to_string();
            assert!(!source.contains("invalid target"), "{invalid}: {source}");
        }
    }
}
