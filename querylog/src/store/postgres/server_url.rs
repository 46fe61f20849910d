//! The URL of a server, and whom it trusts.

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::store::StoreError;
use crate::store::postgres::encryption::{self, Tls};

/// Returns how to connect to the server of a URL.
pub(super) fn parse(url: &str) -> Result<(Config, Tls), StoreError> {
    let (url, root) = without_root(url)?;
    // The error of the parser may contain the password.
    let config: Config = url.parse().map_err(|_| StoreError::unusable("not a PostgreSQL URL"))?;
    if root.is_some() && config.get_ssl_mode() != SslMode::Require {
        return Err(StoreError::unusable("sslrootcert requires sslmode=verify-full"));
    }
    let tls = encryption::tls(config.get_ssl_mode(), root.as_deref())?;
    Ok((config, tls))
}

/// Returns the URL that tokio-postgres can parse, and the file of the certificates to trust.
fn without_root(url: &str) -> Result<(String, Option<String>), StoreError> {
    // The user name and the password may contain a question mark.
    let server = url.find('@').unwrap_or(0);
    let Some(query) = url[server..].find('?').map(|index| server + index + 1) else {
        return Ok((url.to_owned(), None));
    };
    let mut root = None;
    let mut rest = Vec::new();
    for pair in url[query..].split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "verify-ca" | "verify-full")) => rest.push("sslmode=require"),
            Some(("sslrootcert", "system")) => root = None,
            Some(("sslrootcert", file)) => root = Some(percent_decode_str(file).decode_utf8()),
            _ => rest.push(pair),
        }
    }
    let root =
        root.transpose().map_err(|_| StoreError::unusable("sslrootcert: the name of the file is not valid UTF-8"))?;
    Ok((format!("{}{}", &url[..query], rest.join("&")), root.map(Into::into)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::Postgres;

    #[test]
    fn trusted_certificates_are_set_by_the_url() {
        for (url, expected, root) in [
            ("postgres://h/d", "postgres://h/d", None),
            ("postgres://h/d?sslmode=prefer", "postgres://h/d?sslmode=prefer", None),
            ("postgres://h/d?sslmode=verify-full&user=u", "postgres://h/d?sslmode=require&user=u", None),
            ("postgres://h/d?sslrootcert=%2Fa%20b&sslmode=verify-ca", "postgres://h/d?sslmode=require", Some("/a b")),
            ("postgres://u:p?w@h/d?sslrootcert=r", "postgres://u:p?w@h/d?", Some("r")),
            ("postgres://h/d?sslmode=require&sslrootcert=system", "postgres://h/d?sslmode=require", None),
        ] {
            let (rest, file) = without_root(url).unwrap();
            assert_eq!((&*rest, file.as_deref()), (expected, root), "{url}");
            assert!(rest.parse::<Config>().is_ok(), "{url}");
        }
    }

    #[test]
    fn error_does_not_contain_the_url_if_that_is_invalid() {
        for (url, expected) in [
            ("mysql://u:hunter2@h/d", "not a PostgreSQL URL"),
            ("postgres://u:hunter2@h/d?sslmode=always", "not a PostgreSQL URL"),
            ("postgres://u:hunter2@h/d?sslrootcert=x", "sslrootcert requires"),
            ("postgres://u:hunter2@h/d?sslmode=prefer&sslrootcert=x", "sslrootcert requires"),
            ("postgres://u:hunter2@h/d?sslmode=require&sslrootcert=%ff", "not valid UTF-8"),
        ] {
            let error = parse(url).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", Postgres::builder("postgres://u:hunter2@h/d")).contains("hunter2"));
    }
}
