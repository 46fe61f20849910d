//! How a store in PostgreSQL is connected: [`PostgresSettings`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, Pool, Runtime, Timeouts};
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::store::StoreError;
use crate::store::postgres::error::no_connection;
use crate::store::postgres::partitions::{Partition, Partitions};
use crate::store::postgres::store::{PATIENCE, Postgres};
use crate::store::postgres::{encryption, tables};

/// How a store in PostgreSQL is connected. See [`Postgres::settings`].
///
/// ```no_run
/// use tagtrail_querylog::store::{Partition, Postgres};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Postgres::settings("postgres://audit@db.internal/audit?sslmode=verify-full");
/// let store = settings.connections(4).partition_by(Partition::Month).connect().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Encryption
///
/// The parameter `sslmode` of the URL says whether connections are encrypted, as for other programs:
///
/// | `sslmode` | |
/// | --- | --- |
/// | `disable` | no |
/// | `prefer`, the default | where the server can; whether it is the right server is not checked |
/// | `require`, `verify-ca`, `verify-full` | always; the server's certificate must be good for the name of the host, and signed by somebody whom the system trusts, or, with `sslrootcert=FILE`, by one of the certificates in this file (PEM) |
///
/// The last three are one and the same, which is stricter than what others take the first two of them for: an encrypted
/// connection to somebody else is no safer than a plain one. All this needs the feature `postgres-tls`; without it,
/// `prefer` is not encrypted, and what must be encrypted is an error.
#[derive(Clone)]
#[must_use]
pub struct PostgresSettings {
    url: String,
    connections: usize,
    partition: Option<Partition>,
    existing: bool,
}

impl PostgresSettings {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), connections: 16, partition: None, existing: false }
    }

    /// How many connections there are at most; 16 by default. Calls beyond that wait for up to two seconds.
    pub fn connections(self, most: usize) -> Self {
        Self { connections: most.max(1), ..self }
    }

    /// With tables that are partitioned by the time of the records, so that old ones can be dropped at once
    /// ([`Postgres::drop_before`]), and indexes stay small. This is decided when the tables are made: those that are
    /// there are opened as they are, and it is an error to ask for others.
    ///
    /// A partition is made when the first record of its month or day is put. Times that are far from now share one
    /// partition, so that strange ones do not make thousands. What is unique is then not the id but the time and the id:
    /// a record that is put twice with two times is there twice.
    pub fn partition_by(self, partition: Partition) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Makes no tables where there are none: then it is an error to connect. For those who only ask.
    pub fn existing(self) -> Self {
        Self { existing: true, ..self }
    }

    /// Connects, and makes the tables, or brings those of an earlier version up to date. Several may do so at the same
    /// time.
    ///
    /// # Errors
    ///
    /// If the URL is none of PostgreSQL, the server cannot be reached as safely as it asks for, its tables are of a later
    /// version of this crate, or are not partitioned as they are to be; or if there are none, and none are to be made.
    pub async fn connect(self) -> Result<Postgres, StoreError> {
        let wait = Some(PATIENCE);
        let pool = Pool::builder(manager(&self.url)?)
            .max_size(self.connections)
            .timeouts(Timeouts { wait, create: Some(Duration::from_secs(5)), recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(StoreError::failed)?;
        let mut store = Postgres { pool, partitions: None, begun: Arc::default() };
        let mut connection = store.pool.get().await.map_err(|error| StoreError::unusable(no_connection(error)))?;
        let partition = tables::prepare(&mut connection, self.partition, self.existing).await?;
        drop(connection);
        store.partitions = partition.map(|by| Arc::new(Partitions::new(by)));
        Ok(store)
    }
}

/// The URL may have a password in it.
impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, partition, existing, .. } = self;
        f.debug_struct("PostgresSettings")
            .field("connections", connections)
            .field("partition", partition)
            .field("existing", existing)
            .finish_non_exhaustive()
    }
}

fn manager(url: &str) -> Result<Manager, StoreError> {
    let (url, root) = without_root(url)?;
    // What it says may have the password in it.
    let config: Config = url.parse().map_err(|_| StoreError::unusable("no URL of PostgreSQL"))?;
    if root.is_some() && config.get_ssl_mode() != SslMode::Require {
        return Err(StoreError::unusable("sslrootcert is of use with sslmode=verify-full only: ask for that too"));
    }
    encryption::manager(config, root.as_deref())
}

/// The URL as tokio-postgres reads it, and the file of the certificates that are trusted.
fn without_root(url: &str) -> Result<(String, Option<String>), StoreError> {
    // A name or a password may have a question mark.
    let server = url.find('@').unwrap_or(0);
    let Some(query) = url[server..].find('?').map(|place| server + place + 1) else {
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
    let root = root.transpose().map_err(|_| StoreError::unusable("sslrootcert: the name of the file is no UTF-8"))?;
    Ok((format!("{}{}", &url[..query], rest.join("&")), root.map(Into::into)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_the_url_say_whom_to_trust() {
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
    fn a_url_that_is_wrong_is_said_without_it() {
        for (url, expected) in [
            ("mysql://u:hunter2@h/d", "no URL of PostgreSQL"),
            ("postgres://u:hunter2@h/d?sslmode=always", "no URL of PostgreSQL"),
            ("postgres://u:hunter2@h/d?sslrootcert=x", "sslrootcert is of use with"),
            ("postgres://u:hunter2@h/d?sslmode=prefer&sslrootcert=x", "sslrootcert is of use with"),
            ("postgres://u:hunter2@h/d?sslmode=require&sslrootcert=%ff", "no UTF-8"),
        ] {
            let error = manager(url).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", Postgres::settings("postgres://u:hunter2@h/d")).contains("hunter2"));
    }
}
