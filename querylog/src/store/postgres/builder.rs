//! Settings and connecting: [`PostgresBuilder`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreError;
use crate::store::postgres::connector::Connector;
use crate::store::postgres::home::Home;
use crate::store::postgres::limits::Limits;
use crate::store::postgres::partitions::Partition;
use crate::store::postgres::server::{Server, Wanted};
use crate::store::postgres::store::Postgres;
use crate::store::postgres::{prune, server_url};

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
///
/// # Limits
///
/// Every wait has a limit, so that no call hangs if the server does. Those of the server are set for each connection
/// (`statement_timeout`, `lock_timeout`, `idle_in_transaction_session_timeout`). Since a server that hangs does not keep
/// them, this side limits each call as well: it then closes the connection, and asks the server to cancel the statement.
/// A call that takes too long fails with [`StoreError::Overloaded`].
///
/// | setting | default | of |
/// | --- | --- | --- |
/// | [`connect_timeout`](Self::connect_timeout) | 5 s | opening a connection |
/// | [`acquire_timeout`](Self::acquire_timeout) | 2 s | waiting for one of the connections |
/// | [`query_timeout`](Self::query_timeout) | 4 s | a query |
/// | [`write_timeout`](Self::write_timeout) | 10 s | a batch of records, or another change |
/// | [`lock_timeout`](Self::lock_timeout) | 5 s | waiting for a lock of the server |
/// | [`maintenance_timeout`](Self::maintenance_timeout) | 60 s | a step of an export or a sweep, or of dropping partitions |
/// | [`migration_timeout`](Self::migration_timeout) | 1 h | creating or migrating the tables |
/// | [`tcp_user_timeout`](Self::tcp_user_timeout) | 10 s | waiting until the server's operating system acknowledges what was sent |
///
/// An idle connection is probed every 5 seconds, after 10 seconds.
#[derive(Clone)]
#[must_use]
pub struct PostgresBuilder {
    url: String,
    connections: usize,
    partition: Option<Partition>,
    existing: bool,
    limits: Limits,
}

impl PostgresBuilder {
    fn new(url: &str) -> Self {
        Self { url: url.to_owned(), connections: 16, partition: None, existing: false, limits: Limits::default() }
    }

    /// Sets the maximum number of connections; 16 by default. Further calls [wait](Self::acquire_timeout).
    pub fn connections(self, most: usize) -> Self {
        Self { connections: most.max(1), ..self }
    }

    /// Partitions the tables by the time of the records, so that old ones can be dropped at once
    /// ([`Postgres::drop_before`]), and indexes stay small. This is decided when the tables are created: existing
    /// tables keep their partitioning, and connecting with another one is an error.
    ///
    /// A partition is created ahead, by a task in the background, or else when the first record of its month or day is
    /// put. If the tables are in use for longer than a second just then, for example by a backup, records go into the
    /// partition `DEFAULT`, and are moved later. Times that are far from the present
    /// share one partition, so that wrong times do not create thousands. In partitioned tables, records are unique by time
    /// and id instead of by id: a record that is put with two times is stored twice.
    pub fn partition_by(self, partition: Partition) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Opens only tables that exist: if there are none, connecting fails. This is for programs that only query.
    pub fn existing(self) -> Self {
        Self { existing: true, ..self }
    }

    /// Sets how long opening a connection may take; 5 seconds by default.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { connect: limit, ..self.limits }, ..self }
    }

    /// Sets how long a call waits for one of the [connections](Self::connections); 2 seconds by default.
    pub fn acquire_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { acquire: limit, ..self.limits }, ..self }
    }

    /// Sets how long the server may take for a query; 4 seconds by default.
    pub fn query_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { query: limit, ..self.limits }, ..self }
    }

    /// Sets how long writing a batch of records, or another change, may take; 10 seconds by default.
    pub fn write_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { write: limit, ..self.limits }, ..self }
    }

    /// Sets how long a statement waits for a lock, for example one that an administrator holds; 5 seconds by default.
    pub fn lock_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { lock: limit, ..self.limits }, ..self }
    }

    /// Sets how long a step of an export, of a sweep, or of dropping partitions may take; 60 seconds by default.
    pub fn maintenance_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { maintenance: limit, ..self.limits }, ..self }
    }

    /// Sets how long creating or migrating the tables may take; an hour by default.
    pub fn migration_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { migration: limit, ..self.limits }, ..self }
    }

    /// Sets for how long what was sent may remain unacknowledged by the server's operating system before the connection is
    /// closed; 10 seconds by default. This applies on Linux. `tcp_user_timeout` in the URL takes precedence.
    pub fn tcp_user_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { tcp_user: limit, ..self.limits }, ..self }
    }

    /// Connects, and creates the tables, or migrates those of an earlier version. Several processes may do so at the
    /// same time. Use this for a program that must not start without its store.
    ///
    /// # Errors
    ///
    /// If the URL is not a PostgreSQL URL, or the server cannot be reached as securely as the URL requires; if the
    /// tables are of a later version of this crate, or partitioned differently; or if they must
    /// [exist](Self::existing), and do not.
    pub async fn connect(self) -> Result<Postgres, StoreError> {
        let store = self.store()?;
        let server = Arc::clone(&store.server);
        store.home.run(async move { server.prepare().await }).await?;
        Ok(store)
    }

    /// Returns the store without connecting. The first call that needs it connects, and creates or migrates the tables;
    /// until that succeeds, calls fail. Use this for a service that must start even while its database is away.
    ///
    /// ```no_run
    /// use tagtrail_querylog::store::Postgres;
    /// use tagtrail_querylog::{AuditLog, LogStore};
    ///
    /// let store = Postgres::builder("postgres://audit@db.internal/audit").connect_lazy()?;
    /// let log = LogStore::new(AuditLog::new(store)).open()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL is not a PostgreSQL URL, or its certificates cannot be read. Everything else is an error of the first
    /// calls: [`StoreError::Unusable`] if a retry would fail too, as for tables of a later version.
    pub fn connect_lazy(self) -> Result<Postgres, StoreError> {
        self.store()
    }

    fn store(self) -> Result<Postgres, StoreError> {
        let Self { url, connections, partition, existing, limits } = self;
        let (config, tls) = server_url::parse(&url)?;
        let connector = Connector { tls, limits };
        let server = Arc::new(Server::new(config, connector, connections, Wanted { partition, existing })?);
        let home = Arc::new(Home::start(prune::keep_ahead(Arc::clone(&server))).map_err(StoreError::failed)?);
        Ok(Postgres { home, server })
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
