//! The URLs of our own server by which files are read: signed, for a time, and for one file each.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::access::signing::signing;
use crate::model::time::Timestamp;

/// Makes such URLs, and checks them.
#[derive(Clone)]
pub(super) struct Links {
    base: String,
    mac: Hmac<Sha256>,
}

/// What is before the name of a file, behind the path of the API.
pub(crate) const FILES: &str = "/logs/files/";

/// Why a URL opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was changed, or is none of ours.
    Damaged,
    /// Its time is over.
    Expired,
}

impl Links {
    /// With the secret of a store.
    pub(super) fn new(secret: &[u8; 32], base: String) -> Self {
        Self { base, mac: signing(secret, b"files of exports") }
    }

    fn sign(&self, name: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&expires.to_be_bytes());
        mac.update(name.as_bytes());
        mac
    }

    /// The URL of a file, until a moment.
    pub(super) fn write(&self, name: &str, until: Timestamp) -> String {
        let expires = until.as_micros();
        let signature = URL_SAFE_NO_PAD.encode(self.sign(name, expires).finalize().into_bytes());
        format!("{}{FILES}{name}?expires={expires}&signature={signature}", self.base)
    }

    /// Whether the parameters of a URL open a file now: in the one form that they are written in.
    pub(super) fn check(&self, name: &str, query: &str, now: Timestamp) -> Result<(), Refused> {
        let (text, signature) =
            query.strip_prefix("expires=").and_then(|rest| rest.split_once("&signature=")).ok_or(Refused::Damaged)?;
        let expires = text.parse().ok().filter(|expires: &i64| expires.to_string() == text);
        let expires = expires.ok_or(Refused::Damaged)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Damaged)?;
        // Compared in constant time.
        self.sign(name, expires).verify_slice(&signature).map_err(|_| Refused::Damaged)?;
        if now.as_micros() < expires { Ok(()) } else { Err(Refused::Expired) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_opens_its_file_until_its_time_is_over() {
        let links = Links::new(&[7; 32], "https://logs.example.com/api/v1".to_owned());
        let until: Timestamp = "2024-05-10T00:00:00Z".parse().unwrap();
        let url = links.write("a.gz", until);
        let query = url.strip_prefix("https://logs.example.com/api/v1/logs/files/a.gz?").unwrap();
        let at = |micros: i64| Timestamp::from_micros(until.as_micros() + micros);
        assert_eq!(links.check("a.gz", query, at(-1)), Ok(()));
        assert_eq!(links.check("a.gz", query, until), Err(Refused::Expired));
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
            assert_eq!(links.check(name, &query, at(-1)), Err(Refused::Damaged), "{query}");
        }
        let other = Links::new(&[8; 32], "https://logs.example.com/api/v1".to_owned());
        assert_eq!(other.check("a.gz", query, at(-1)), Err(Refused::Damaged));
    }
}
