//! The store itself: [`Postgres`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, PoolError};
use tokio_postgres::IsolationLevel::RepeatableRead;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::model::cursor::Cursor;
use crate::model::distinct::Distinct;
use crate::model::gap::{Gap, UNCLEAN_STOP};
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::model::writer_status::{WriterReport, WriterStatus};
use crate::store::exported::PAGE_BYTES;
use crate::store::postgres::error::{failed, is_transient, no_connection, not_put};
use crate::store::postgres::partitions::{Partition, Partitions};
use crate::store::postgres::put::Put;
use crate::store::postgres::rows::{read_cursor, read_exported, read_gap, read_row};
use crate::store::postgres::started::Started;
use crate::store::postgres::statements::{self, INDEXED};
use crate::store::postgres::{tables, writers};
use crate::store::sql::{COLUMNS, SILENT, clamped, many, short_columns, without_starts};
use crate::store::{ExportedRow, Hits, Jobs, Key, Row, RowRange, Selection, Store, StoreError};

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

#[async_trait]
impl Store for Postgres {
    async fn put(&self, rows: Arc<[Row]>, report: Option<&WriterReport>) -> Result<(), StoreError> {
        let rows: Vec<&Row> = without_starts(rows.iter()).collect();
        let mut connection = self.connection().await?;
        if let Some(partitions) = &self.partitions {
            partitions.create_for(&mut connection, rows.iter().map(|row| row.record.timestamp.as_micros())).await?;
        }
        let put = Put { started: &self.started, partition: self.partition(), report };
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

    async fn put_gap(&self, id: Uuid, gap: &Gap) -> Result<(), StoreError> {
        let (id, from, to) = (id.to_string(), gap.from.as_micros(), gap.to.as_micros());
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&id.as_bytes(), &from, &to, &gap.count.map(clamped), &gap.why.as_bytes()];
        self.write(statements::PUT_GAP, &parameters).await.map(drop)
    }

    async fn report(&self, report: &WriterReport) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await.map_err(failed)?;
        if writers::report(&transaction, report).await.map_err(failed)? != tables::VERSION {
            return Err(StoreError::unusable(tables::LATER));
        }
        transaction.commit().await.map_err(failed)
    }

    async fn writers(&self) -> Result<Vec<WriterStatus>, StoreError> {
        self.query(&writers::read_text(), &[&SILENT]).await?.iter().map(writers::read_status).collect()
    }

    async fn gaps(&self, window: Window, limit: usize) -> Result<Vec<Gap>, StoreError> {
        let (start, end) = (window.start.as_micros(), window.end.as_micros());
        let parameters: [&(dyn ToSql + Sync); 5] = [&start, &end, &many(limit), &SILENT, &UNCLEAN_STOP.as_bytes()];
        self.query(&writers::gaps_text(), &parameters).await?.iter().map(read_gap).collect()
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

    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        let wanted: Vec<&[u8]> = objects.iter().map(String::as_bytes).collect();
        let found = self.query("SELECT DISTINCT object FROM record WHERE object = ANY ($1)", &[&wanted]).await?;
        let found = found.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<&[u8]>, _>>().map_err(failed)?;
        Ok(wanted.iter().map(|object| found.contains(object)).collect())
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
