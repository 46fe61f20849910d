//! The URLs of our own server by which files are read: signed, for a time, and for one file each.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::access::signing::signing;
use crate::model::time::Timestamp;

/// Writes such URLs, and checks them.
#[derive(Clone)]
pub(super) struct Links {
    base: String,
    mac: Hmac<Sha256>,
}

/// The part of a path between that of the API and the name of a file.
pub(crate) const FILES: &str = "/logs/files/";

/// Why a URL does not open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidLink {
    /// It was changed, or is not one of ours.
    Damaged,
    /// It has run out.
    Expired,
}

impl Links {
    /// Creates links that are signed with the secret of a store.
    pub(super) fn new(secret: &[u8; 32], base: String) -> Self {
        Self { base, mac: signing(secret, b"files of exports") }
    }

    fn sign(&self, name: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&expires.to_be_bytes());
        mac.update(name.as_bytes());
        mac
    }

    /// Writes the URL of a file, which is valid until a moment.
    pub(super) fn write(&self, name: &str, until: Timestamp) -> String {
        let expires = until.as_micros();
        let signature = URL_SAFE_NO_PAD.encode(self.sign(name, expires).finalize().into_bytes());
        format!("{}{FILES}{name}?expires={expires}&signature={signature}", self.base)
    }

    /// Checks whether the parameters of a URL open a file now: in the one form in which they are written.
    pub(super) fn check(&self, name: &str, query: &str, now: Timestamp) -> Result<(), InvalidLink> {
        let (text, signature) = query
            .strip_prefix("expires=")
            .and_then(|rest| rest.split_once("&signature="))
            .ok_or(InvalidLink::Damaged)?;
        let expires = text.parse().ok().filter(|expires: &i64| expires.to_string() == text);
        let expires = expires.ok_or(InvalidLink::Damaged)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidLink::Damaged)?;
        // Compared in constant time.
        self.sign(name, expires).verify_slice(&signature).map_err(|_| InvalidLink::Damaged)?;
        if now.as_micros() < expires { Ok(()) } else { Err(InvalidLink::Expired) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_opens_its_file_until_it_has_run_out() {
        let links = Links::new(&[7; 32], "https://logs.example.com/api/v1".to_owned());
        let until: Timestamp = "2024-05-10T00:00:00Z".parse().unwrap();
        let url = links.write("a.gz", until);
        let query = url.strip_prefix("https://logs.example.com/api/v1/logs/files/a.gz?").unwrap();
        let at = |micros: i64| Timestamp::from_micros(until.as_micros() + micros);
        assert_eq!(links.check("a.gz", query, at(-1)), Ok(()));
        assert_eq!(links.check("a.gz", query, until), Err(InvalidLink::Expired));
        for (name, query) in [
            ("b.gz", query.to_owned()),
            ("a.gz", query.replace("expires=", "expires=+")),
            ("a.gz", query.replace("expires=", "expires=0")),
            ("a.gz", query.replace("expires=1", "expires=2")),
            ("a.gz", format!("{query}&x=1")),
            ("a.gz", format!("x=1&{query}")),
            ("a.gz", query.replace("&signature=", "&signature=A")),
            ("a.gz", String::new()),
        ] {
            assert_eq!(links.check(name, &query, at(-1)), Err(InvalidLink::Damaged), "{query}");
        }
        let other = Links::new(&[8; 32], "https://logs.example.com/api/v1".to_owned());
        assert_eq!(other.check("a.gz", query, at(-1)), Err(InvalidLink::Damaged));
    }
}
