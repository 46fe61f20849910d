//! The store itself: [`Postgres`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, PoolError, Runtime, Timeouts};
use tokio_postgres::IsolationLevel::RepeatableRead;
use tokio_postgres::types::ToSql;

use crate::model::cursor::Cursor;
use crate::model::distinct::Distinct;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::exported::PAGE_BYTES;
use crate::store::postgres::error::{failed, is_transient, no_connection, not_put};
use crate::store::postgres::partitions::{Partition, Partitions};
use crate::store::postgres::put::Put;
use crate::store::postgres::rows::{read_cursor, read_exported, read_gap, read_row};
use crate::store::postgres::started::Started;
use crate::store::postgres::statements::{self, INDEXED};
use crate::store::postgres::{server_url, tables};
use crate::store::sql::{COLUMNS, many, short_columns, without_starts};
use crate::store::{ExportedRow, Hits, Jobs, Key, Row, RowRange, Selection, Store, StoreError};

/// How long a call waits for a connection before it fails with [`StoreError::Overloaded`].
const PATIENCE: Duration = Duration::from_secs(2);
/// The placeholder of a value that is not read.
const NULL: &str = "NULL::BYTEA";

/// A store in PostgreSQL. Clones share the store.
///
/// ```no_run
/// use tagtrail_querylog::AuditLog;
/// use tagtrail_querylog::store::{Payloads, Postgres};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Postgres::connect("postgres://audit@db.internal/audit?sslmode=verify-full").await?;
/// let log = AuditLog::new(store).payloads(Payloads::at("s3://our-bucket/audit")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Postgres {
    pub(super) pool: Pool,
    pub(super) partitions: Option<Arc<Partitions>>,
    pub(super) started: Arc<Started>,
}

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

    /// Drops the partitions whose records all started before a time, and returns how many were dropped. Records before
    /// that time that are not in a partition of a month or day are deleted. A partition that contains the time stays as
    /// a whole. Dropping is fast, however many records there are. Their long values in an object store are deleted by
    /// [`AuditLog::sweep`](crate::AuditLog::sweep).
    ///
    /// # Errors
    ///
    /// If the tables have no partitions; if they are in use for more than a second without a pause
    /// ([`Overloaded`](StoreError::Overloaded)); or if the server fails. Calling this again is harmless.
    pub async fn drop_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        let Some(partitions) = &self.partitions else {
            return Err(StoreError::unusable("the tables are not partitioned, so no partitions can be dropped"));
        };
        partitions.drop_before(&mut self.connection().await?, before).await
    }

    fn partition(&self) -> Option<Partition> {
        self.partitions.as_ref().map(|partitions| partitions.by())
    }

    async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => StoreError::Overloaded,
            PoolError::Closed => StoreError::Closed,
            error => StoreError::failed(no_connection(error)),
        })
    }

    pub(super) async fn query(
        &self,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(text).await.map_err(failed)?;
        connection.query(&statement, parameters).await.map_err(failed)
    }

    /// Runs a statement that writes, unless another process has migrated the tables to another version meanwhile.
    pub(super) async fn write(
        &self,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await.map_err(failed)?;
        if tables::version(&transaction).await.map_err(failed)? != tables::VERSION {
            return Err(StoreError::unusable(tables::LATER));
        }
        let statement = transaction.prepare_cached(text).await.map_err(failed)?;
        let rows = transaction.query(&statement, parameters).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(rows)
    }

    async fn range(
        &self,
        columns: &str,
        range: &RowRange<Selection>,
        limit: usize,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let (text, values) = statements::range(columns, range);
        let limit = many(limit);
        let RowRange { after, before, .. } = range;
        let (after_id, before_id) = (after.id.as_bytes(), before.id.as_bytes());
        let indexed: Vec<&[u8]> = values.iter().map(|value| &value[..value.len().min(INDEXED)]).collect();
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&after.micros, &after_id, &before.micros, &before_id, &limit];
        for (value, indexed) in values.iter().zip(&indexed) {
            parameters.extend([value as &(dyn ToSql + Sync), indexed]);
        }
        self.query(&text, &parameters).await
    }

    /// Reads the rows at some positions, in the same order. Those that do not exist are left out.
    async fn rows_of(&self, columns: &str, cursors: &[Cursor]) -> Result<Vec<Row>, StoreError> {
        let times: Vec<i64> = cursors.iter().map(|cursor| cursor.micros).collect();
        let ids: Vec<&[u8]> = cursors.iter().map(|cursor| cursor.id.as_bytes()).collect();
        let rows = self.query(&statements::rows_at(columns), &[&times, &ids]).await?;
        let rows = rows.iter().map(read_row).collect::<Result<Vec<_>, _>>()?;
        let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (Cursor::of(&row.record), row)).collect();
        Ok(cursors.iter().filter_map(|cursor| rows.remove(cursor)).collect())
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
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

#[async_trait]
impl Store for Postgres {
    async fn put(&self, rows: Arc<[Row]>) -> Result<(), StoreError> {
        let rows: Vec<&Row> = without_starts(rows.iter()).collect();
        let mut connection = self.connection().await?;
        if let Some(partitions) = &self.partitions {
            partitions.create_for(&mut connection, rows.iter().map(|row| row.record.timestamp.as_micros())).await?;
        }
        let put = Put { started: &self.started, partition: self.partition() };
        let is_put = match put.put_rows(&mut connection, &rows, true).await {
            Err(error) if is_transient(&error) => put.put_rows(&mut connection, &rows, false).await,
            is_put => is_put,
        };
        if !is_put.map_err(not_put)? {
            return Err(StoreError::unusable(tables::LATER));
        }
        self.started.put(&rows);
        Ok(())
    }

    async fn put_gap(&self, gap: &Gap) -> Result<(), StoreError> {
        let count = gap.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let (from, to, why) = (gap.from.as_micros(), gap.to.as_micros(), gap.why.as_bytes());
        self.write(statements::PUT_GAP, &[&from, &to, &count, &why]).await.map(drop)
    }

    async fn gaps(&self, window: Window) -> Result<Vec<Gap>, StoreError> {
        let rows = self.query(statements::GAPS, &[&window.start.as_micros(), &window.end.as_micros()]).await?;
        rows.iter().map(read_gap).collect()
    }

    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM record WHERE id = $1 ORDER BY timestamp LIMIT 1");
        self.query(&text, &[&id.as_bytes()]).await?.first().map(read_row).transpose()
    }

    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.range(COLUMNS, &range, limit).await?.iter().map(read_row).collect()
    }

    async fn short_page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.range(&short_columns(NULL), &range, limit).await?.iter().map(read_row).collect()
    }

    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let columns = match of {
            Distinct::Names => "timestamp, id, udf_name",
            Distinct::Ids => "timestamp, id, udf_id",
        };
        let read = self.range(columns, &range, scan).await?;
        let mut seen = HashSet::new();
        let first = read.iter().filter(|row| row.get::<_, Option<&[u8]>>(2).is_some_and(|value| seen.insert(value)));
        let cursors = first.map(read_cursor).collect::<Result<Vec<_>, _>>()?;
        self.rows_of(COLUMNS, &cursors).await
    }

    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        let RowRange { of: keys, after, before, newest_first } = &range;
        let (after_id, before_id) = (after.id.as_bytes(), before.id.as_bytes());
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
        let (first_key, scan, one_more) =
            (keys.first().copied().unwrap_or_default(), many(scan), many(limit.saturating_add(1)));
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&after.micros, &after_id, &before.micros, &before_id, &first_key, &scan];
        let last = parameters.clone();
        parameters.push(&one_more);
        parameters.extend(keys.iter().skip(1).map(|key| key as &(dyn ToSql + Sync)));
        let mut connection = self.connection().await?;
        let (mut cursors, last) = async {
            // Both queries see the same entries: otherwise, new ones would move the last one.
            let transaction = connection.build_transaction().isolation_level(RepeatableRead).read_only(true);
            let transaction = transaction.start().await?;
            let statement = transaction.prepare_cached(&statements::entries(keys.len(), *newest_first)).await?;
            let found = transaction.query(&statement, &parameters).await?;
            if found.len() > limit {
                return Ok((found, None));
            }
            let statement = transaction.prepare_cached(&statements::last_entry(*newest_first)).await?;
            let last = transaction.query(&statement, &last).await?;
            // Only if there is one after it.
            Ok((found, last.into_iter().rev().nth(1)))
        }
        .await
        .map_err(failed)
        .and_then(|(found, last)| {
            let cursors = found.iter().map(read_cursor).collect::<Result<Vec<_>, _>>()?;
            Ok((cursors, last.as_ref().map(read_cursor).transpose()?))
        })?;
        drop(connection);
        let behind = if cursors.len() > limit {
            cursors.truncate(limit);
            cursors.last().cloned()
        } else {
            last
        };
        Ok(Hits { rows: self.rows_of(&short_columns(NULL), &cursors).await?, behind })
    }

    async fn has_object(&self, object: &str) -> Result<bool, StoreError> {
        Ok(!self.query("SELECT 1 FROM record WHERE object = $1 LIMIT 1", &[&object.as_bytes()]).await?.is_empty())
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        let rows = self.query("SELECT secret FROM about", &[]).await?;
        let secret = rows.first().and_then(|row| row.get::<_, &[u8]>(0).try_into().ok());
        secret.ok_or_else(|| StoreError::failed("the table `about` has no secret"))
    }

    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        Ok(!self.query(statements::OPEN, &[&window.start.as_micros(), &window.end.as_micros()]).await?.is_empty())
    }

    async fn exported(&self, range: RowRange<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        let RowRange { of: key, after, before, .. } = &range;
        let (key, after_id, before_id) = (key.as_bytes().as_slice(), after.id.as_bytes(), before.id.as_bytes());
        let (limit, bytes) = (many(limit), many(PAGE_BYTES));
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&key, &after.micros, &after_id, &before.micros, &before_id, &limit, &bytes];
        self.query(statements::EXPORTED, &parameters).await?.iter().map(read_exported).collect()
    }

    fn jobs(&self) -> Option<&dyn Jobs> {
        Some(self)
    }
}
