//! The server, and what is known of it: [`Server`].

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType, Timeouts,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::types::ToSql;

use crate::store::StoreError;
use crate::store::postgres::connector::Connector;
use crate::store::postgres::error::{again, failed, no_connection, not_connected, too_slow};
use crate::store::postgres::limits::Limits;
use crate::store::postgres::partitions::{Partition, Partitions};
use crate::store::postgres::started::Started;
use crate::store::postgres::tables;

/// For how long calls fail at once after the server did not respond, so that they do not each wait for it.
const PAUSE: Duration = Duration::from_secs(1);

/// A parameter of a statement.
pub(super) type Parameter = Box<dyn ToSql + Send + Sync>;

/// Returns a parameter.
pub(super) fn parameter(value: impl ToSql + Send + Sync + 'static) -> Parameter {
    Box::new(value)
}

/// Returns parameters as a statement takes them.
pub(super) fn borrowed(parameters: &[Parameter]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect()
}

/// Returns a text as a parameter.
pub(super) fn bytes(text: &str) -> Parameter {
    parameter(text.as_bytes().to_vec())
}

/// The connections to a server, and what is known of its tables. All of it runs on the runtime of the store.
pub(super) struct Server {
    pool: Pool,
    connector: Connector,
    wanted: Wanted,
    /// The tables, as soon as they are known to be there.
    tables: OnceLock<Tables>,
    preparing: watch::Sender<Preparing>,
    /// When the server last did not respond to a new connection.
    silent: Mutex<Option<Instant>>,
    pub(super) started: Started,
}

/// What the tables must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) partition: Option<Partition>,
    pub(super) existing: bool,
}

/// Tables that are there, in the version of this crate.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) partitions: Option<Arc<Partitions>>,
}

impl Tables {
    pub(super) fn partition(&self) -> Option<Partition> {
        self.partitions.as_ref().map(|partitions| partitions.by())
    }
}

/// Whether the tables are being created or migrated.
enum Preparing {
    No,
    Running,
    Failed(StoreError),
}

impl Server {
    pub(super) fn new(
        config: Config,
        connector: Connector,
        connections: usize,
        wanted: Wanted,
    ) -> Result<Self, StoreError> {
        let Limits { connect, acquire, .. } = connector.limits;
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(connector.limit(config), connector.clone(), manager);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .timeouts(Timeouts { wait: Some(acquire), create: Some(connect), recycle: Some(acquire) })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(StoreError::failed)?;
        Ok(Self {
            pool,
            connector,
            wanted,
            tables: OnceLock::new(),
            preparing: watch::Sender::new(Preparing::No),
            silent: Mutex::default(),
            started: Started::default(),
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.connector.limits
    }

    /// Connects, and creates or migrates the tables.
    pub(super) async fn prepare(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut lease = self.lease_of(self.pool.get().await.map_err(not_connected)?);
        let Wanted { partition, existing } = self.wanted;
        let prepared = tables::prepare(&mut lease, partition, existing, self.limits());
        let prepared = timeout(self.limits().migration, prepared).await;
        let partition = lease.finish(prepared)?;
        let partitions = partition.map(|by| Arc::new(Partitions::new(by)));
        // It is the same if it was set meanwhile.
        let _ = self.tables.set(Tables { partitions });
        self.preparing.send_replace(Preparing::No);
        Ok(())
    }

    /// Returns the tables. If they are not known to be there, they are created or migrated, for all callers that wait.
    pub(super) async fn tables(self: &Arc<Self>) -> Result<Tables, StoreError> {
        if let Some(tables) = self.tables.get() {
            return Ok(tables.clone());
        }
        let limit = self.limits().connect + self.limits().acquire;
        timeout(limit, self.prepared()).await.unwrap_or_else(|_| Err(too_slow("to make the tables ready")))
    }

    /// Waits until the tables are known to be there, without creating them.
    pub(super) async fn ready(&self) -> Tables {
        let mut preparing = self.preparing.subscribe();
        loop {
            if let Some(tables) = self.tables.get() {
                return tables.clone();
            }
            // It is not closed while the server is there.
            let _ = preparing.changed().await;
        }
    }

    async fn prepared(self: &Arc<Self>) -> Result<Tables, StoreError> {
        let mut preparing = self.preparing.subscribe();
        let mut has_waited = false;
        loop {
            if let Some(tables) = self.tables.get() {
                return Ok(tables.clone());
            }
            if let (true, Preparing::Failed(error)) = (has_waited, &*preparing.borrow_and_update()) {
                return Err(again(error));
            }
            let is_first = self.preparing.send_if_modified(|preparing| {
                let is_first = !matches!(preparing, Preparing::Running);
                *preparing = Preparing::Running;
                is_first
            });
            if is_first {
                // It continues if this caller is gone: a migration may take longer than a call.
                let server = Arc::clone(self);
                tokio::spawn(async move {
                    let task = Arc::clone(&server);
                    let prepared = tokio::spawn(async move { task.prepare().await }).await;
                    let prepared = prepared.unwrap_or_else(|error| Err(StoreError::failed(error)));
                    server.preparing.send_replace(prepared.map_or_else(Preparing::Failed, |()| Preparing::No));
                });
            }
            has_waited = true;
            preparing.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    async fn connection(&self) -> Result<Object, StoreError> {
        let is_silent = self.silent().is_some_and(|since| since.elapsed() < PAUSE);
        if is_silent && self.pool.status().available == 0 {
            return Err(StoreError::Overloaded);
        }
        let connection = self.pool.get().await;
        if let Err(PoolError::Timeout(TimeoutType::Create)) = &connection {
            *self.silent() = Some(Instant::now());
        }
        connection.map_err(no_connection)
    }

    fn silent(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a connection, which must be [finished](Lease::finish).
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        Ok(self.lease_of(self.connection().await?))
    }

    fn lease_of(&self, connection: Object) -> Lease {
        Lease { connection: Some(connection), connector: self.connector.clone() }
    }

    /// Runs a statement that reads.
    pub(super) async fn query(
        self: &Arc<Self>,
        limit: Duration,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        self.tables().await?;
        let lease = self.lease().await?;
        let rows = timeout(limit, async {
            let statement = lease.prepare_cached(text).await?;
            lease.query(&statement, parameters).await
        });
        let rows = rows.await.map(|rows| rows.map_err(failed));
        lease.finish(rows)
    }

    /// Runs a statement that writes, unless another process has migrated the tables to another version meanwhile.
    pub(super) async fn write(
        self: &Arc<Self>,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        self.tables().await?;
        let mut lease = self.lease().await?;
        let rows = timeout(self.limits().write, async {
            let transaction = lease.transaction().await.map_err(failed)?;
            tables::check(tables::version(&transaction).await.map_err(failed)?)?;
            let statement = transaction.prepare_cached(text).await.map_err(failed)?;
            let rows = transaction.query(&statement, parameters).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(rows)
        });
        let rows = rows.await;
        lease.finish(rows)
    }
}

/// A connection that is in use. If its work is not done, because it took too long or the caller is gone, it is closed,
/// and the server is asked to cancel what it does.
pub(super) struct Lease {
    /// `None` once the work is done.
    connection: Option<Object>,
    connector: Connector,
}

impl Lease {
    /// Returns the connection to the pool if its work was done within the limit.
    pub(super) fn finish<T>(mut self, done: Result<Result<T, StoreError>, Elapsed>) -> Result<T, StoreError> {
        let done = done.map_err(|_| too_slow("to respond"))?;
        drop(self.connection.take());
        done
    }
}

const IN_USE: &str = "a lease has its connection until it is finished";

impl Deref for Lease {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.connection.as_ref().expect(IN_USE)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Object {
        self.connection.as_mut().expect(IN_USE)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let token = connection.cancel_token();
        drop(Object::take(connection));
        // There is none if the store was dropped.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.connector.clone().cancel(token));
        }
    }
}
