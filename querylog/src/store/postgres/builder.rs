//! Settings and connecting: [`PostgresBuilder`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Pool, Runtime, Timeouts};

use crate::store::StoreError;
use crate::store::postgres::error::no_connection;
use crate::store::postgres::partitions::{Partition, Partitions};
use crate::store::postgres::store::Postgres;
use crate::store::postgres::{server_url, tables};

/// How long a call waits for a connection before it fails with [`StoreError::Overloaded`].
const PATIENCE: Duration = Duration::from_secs(2);

impl Postgres {
    /// Connects with the default settings.
    ///
    /// # Errors
    /// As [`PostgresBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// Returns the settings of a store in the database of a URL.
    pub fn builder(url: &str) -> PostgresBuilder {
        PostgresBuilder::new(url)
    }
}

/// The settings of a store in PostgreSQL. See [`Postgres::builder`].
///
/// ```no_run
/// use tagtrail_querylog::store::{Partition, Postgres};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Postgres::builder("postgres://audit@db.internal/audit?sslmode=verify-full");
/// let store = settings.connections(4).partition_by(Partition::Month).connect().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Encryption
///
/// The parameter `sslmode` of the URL sets whether connections are encrypted, as for other programs:
///
/// | `sslmode` | |
/// | --- | --- |
/// | `disable` | no |
/// | `prefer`, the default | if the server supports it; the server is not verified |
/// | `require`, `verify-ca`, `verify-full` | always; the certificate of the server must be valid for the name of the host, and signed by an authority that the system trusts, or, with `sslrootcert=FILE`, by one of the certificates in this file (PEM) |
///
/// The last three are the same. For the first two, this is stricter than other programs are, since an encrypted
/// connection to the wrong server is as unsafe as a plain one. Encryption requires the feature `postgres-tls`. Without
/// it, `prefer` is not encrypted, and requiring encryption is an error.
#[derive(Clone)]
#[must_use]
pub struct PostgresBuilder {
    url: String,
    connections: usize,
    partition: Option<Partition>,
    existing: bool,
}

impl PostgresBuilder {
    fn new(url: &str) -> Self {
        Self { url: url.to_owned(), connections: 16, partition: None, existing: false }
    }

    /// Sets the maximum number of connections; 16 by default. Further calls wait for up to two seconds.
    pub fn connections(self, most: usize) -> Self {
        Self { connections: most.max(1), ..self }
    }

    /// Partitions the tables by the time of the records, so that old ones can be dropped at once
    /// ([`Postgres::drop_before`]), and indexes stay small. This is decided when the tables are created: existing
    /// tables keep their partitioning, and connecting with another one is an error.
    ///
    /// A partition is created when the first record of its month or day is put. Times that are far from the present
    /// share one partition, so that wrong times do not create thousands. Records are then unique by time and id instead
    /// of id: a record that is put with two times is stored twice.
    pub fn partition_by(self, partition: Partition) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Opens only tables that exist: if there are none, connecting fails. For programs that only query.
    pub fn existing(self) -> Self {
        Self { existing: true, ..self }
    }

    /// Connects, and creates the tables, or migrates those of an earlier version. Several processes may do so at the
    /// same time.
    ///
    /// # Errors
    ///
    /// If the URL is not a PostgreSQL URL, or the server cannot be reached as securely as the URL requires; if the
    /// tables are of a later version of this crate, or partitioned differently; or if they must
    /// [exist](Self::existing), and do not.
    pub async fn connect(self) -> Result<Postgres, StoreError> {
        let wait = Some(PATIENCE);
        let pool = Pool::builder(server_url::manager(&self.url)?)
            .max_size(self.connections)
            .timeouts(Timeouts { wait, create: Some(Duration::from_secs(5)), recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(StoreError::failed)?;
        let mut store = Postgres { pool, partitions: None, started: Arc::default() };
        let mut connection = store.pool.get().await.map_err(|error| StoreError::unusable(no_connection(error)))?;
        let partition = tables::prepare(&mut connection, self.partition, self.existing).await?;
        drop(connection);
        store.partitions = partition.map(|by| Arc::new(Partitions::new(by)));
        Ok(store)
    }
}

/// Does not show the URL, which may contain a password.
impl fmt::Debug for PostgresBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, partition, existing, .. } = self;
        f.debug_struct("PostgresBuilder")
            .field("connections", connections)
            .field("partition", partition)
            .field("existing", existing)
            .finish_non_exhaustive()
    }
}
