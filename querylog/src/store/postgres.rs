//! PostgreSQL, and what speaks its protocol: the store that many services share.
//!
//! Of PostgreSQL it uses: tables and indexes, some of them over an expression; arrays that become rows (`unnest`);
//! `INSERT … ON CONFLICT DO UPDATE … WHERE`, and `DO NOTHING RETURNING`; comparison of rows; `LATERAL`; prepared statements; and, while it makes the
//! tables, a transaction with `SELECT … FOR UPDATE`; where it
//! finds requests, one with `REPEATABLE READ`. No extensions, triggers, sequences, advisory locks or `LISTEN`. Only
//! where [partitions](Partition) are asked for does it use those, with `DEFAULT`, `LOCK TABLE` and the catalogue.
//!
//! Texts are `BYTEA`, since its `TEXT` has no NUL; `convert_from(udf_name, 'UTF8')` shows one. An index has at most the
//! first 200 bytes of a text, since longer ones do not fit.

mod begun;
mod exports;
mod faults;
mod jobs;
mod partitions;
mod rows;
mod settings;
mod statements;
mod tables;
#[cfg(test)]
pub(super) mod tests;
#[cfg_attr(not(feature = "postgres-tls"), path = "postgres/no_tls.rs")]
mod tls;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, PoolError, Transaction};
use futures_util::future::try_join;
use tokio_postgres::IsolationLevel::RepeatableRead;
use tokio_postgres::types::ToSql;

use self::begun::Begun;
use self::faults::{failed, is_passing, not_put};
use self::partitions::Partitions;
use self::rows::{Columns, read_gap, read_place, read_row};
use super::{COLUMNS, ExportedRow, Hits, Key, Row, Store, StoreError, many, short_columns, without_begins};
use crate::model::cursor::Cursor;
use crate::model::distinct::Distinct;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::{RowRange, Selection};

pub use self::partitions::Partition;
pub use self::settings::PostgresSettings;

/// How long a call waits for a connection before it is told that there is too much to do.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many rows one statement has at most.
const STATEMENT: usize = 2_000;
/// What is in the place of a value that is not read.
const NULL: &str = "NULL::BYTEA";
/// How much of a text an index has.
const INDEXED: usize = 200;

/// A store in PostgreSQL. A clone is the same store.
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
    pool: Pool,
    partitions: Option<Arc<Partitions>>,
    begun: Arc<Begun>,
}

impl Postgres {
    /// Connects as [`PostgresSettings::connect`] does, with the settings as they are by default.
    ///
    /// # Errors
    ///
    /// The same.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::settings(url).connect().await
    }

    /// The settings of a store in the database of a URL, to be changed and connected.
    pub fn settings(url: &str) -> PostgresSettings {
        PostgresSettings::new(url)
    }

    /// Drops the partitions whose records all are before a time, and deletes the records before it that are in none of
    /// a month or day; returns how many partitions were dropped. A partition that the time is within stays whole. It is
    /// soon done, however many records there are; what they have in an object store is then for
    /// [`AuditLog::sweep`](crate::AuditLog::sweep).
    ///
    /// # Errors
    ///
    /// If the tables have no partitions; if they are read or written for longer than a second without a pause
    /// ([`Overloaded`](StoreError::Overloaded)); or if the server fails. To call it again is harmless.
    pub async fn drop_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        let Some(partitions) = &self.partitions else {
            return Err(StoreError::unusable("the tables have no partitions that could be dropped"));
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
            error => StoreError::failed(faults::no_connection(error)),
        })
    }

    async fn query(
        &self,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(text).await.map_err(failed)?;
        connection.query(&statement, parameters).await.map_err(failed)
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

    /// Puts rows. If it trusts that a new row has no entries yet, it does not look for them. Returns whether it put them:
    /// not into tables of another version, which another process has brought up to date meanwhile.
    async fn put_rows(
        &self,
        connection: &mut Object,
        rows: &[&Row],
        trusts: bool,
    ) -> Result<bool, tokio_postgres::Error> {
        let transaction = connection.transaction().await?;
        // Both go to the server at once.
        let (version, ()) = try_join(tables::version(&transaction), self.put_all(&transaction, rows, trusts)).await?;
        let is_known = version == tables::VERSION;
        if is_known {
            transaction.commit().await?;
        }
        Ok(is_known)
    }

    async fn put_all(
        &self,
        transaction: &Transaction<'_>,
        rows: &[&Row],
        trusts: bool,
    ) -> Result<(), tokio_postgres::Error> {
        let mut rows = rows.to_vec();
        while !rows.is_empty() {
            // A statement takes each id once, and in one order, so that two of them do not wait for each other.
            let mut ids = HashSet::new();
            let is_next = |row: &&Row| ids.len() < STATEMENT && ids.insert(row.record.id.clone());
            let (mut some, rest): (Vec<_>, _) = rows.into_iter().partition(is_next);
            some.sort_unstable_by(|one, other| one.record.id.cmp(&other.record.id));
            if trusts {
                some = self.put_new(transaction, some).await?;
            }
            if !some.is_empty() {
                let statement = transaction.prepare_cached(&statements::put(self.partition())).await?;
                let put = transaction.query(&statement, &Columns::of(&some).parameters()).await?;
                // A row that was there keeps its time, which is that of its entries.
                let times = put.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
                let times: HashMap<&[u8], i64> = times.collect::<Result<_, tokio_postgres::Error>>()?;
                let time = |row: &Row| times.get(row.record.id.as_str().as_bytes()).copied();
                put_entries(transaction, &some, statements::PUT_ENTRIES, time, |row| self.begun.keys(row)).await?;
            }
            rows = rest;
        }
        Ok(())
    }

    /// Puts those of the rows that are new, and returns the others.
    async fn put_new<'a>(
        &self,
        transaction: &Transaction<'_>,
        rows: Vec<&'a Row>,
    ) -> Result<Vec<&'a Row>, tokio_postgres::Error> {
        let unknown: Vec<&Row> = rows.iter().filter(|row| self.begun.keys(row).is_none()).copied().collect();
        if unknown.is_empty() {
            return Ok(rows);
        }
        let statement = transaction.prepare_cached(&statements::put_new(self.partition())).await?;
        let new = transaction.query(&statement, &Columns::of(&unknown).parameters()).await?;
        let new: HashSet<&[u8]> = new.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let is_new = |row: &&Row| new.contains(row.record.id.as_str().as_bytes());
        let (new, others): (Vec<_>, _) = rows.into_iter().partition(is_new);
        let time = |row: &Row| Some(row.record.timestamp.as_micros());
        put_entries(transaction, &new, statements::PUT_NEW_ENTRIES, time, |_| None).await?;
        Ok(others)
    }

    /// The rows of places, in the same order, without those that are not there.
    async fn rows_of(&self, columns: &str, places: &[Cursor]) -> Result<Vec<Row>, StoreError> {
        let times: Vec<i64> = places.iter().map(|place| place.micros).collect();
        let ids: Vec<&[u8]> = places.iter().map(|place| place.id.as_bytes()).collect();
        let rows = self.query(&statements::rows_of_places(columns), &[&times, &ids]).await?;
        let rows = rows.iter().map(read_row).collect::<Result<Vec<_>, _>>()?;
        let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (Cursor::of(&row.record), row)).collect();
        Ok(places.iter().filter_map(|place| rows.remove(place)).collect())
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Postgres {
    async fn put(&self, rows: Arc<[Row]>) -> Result<(), StoreError> {
        let rows: Vec<&Row> = without_begins(rows.iter()).collect();
        let mut connection = self.connection().await?;
        if let Some(partitions) = &self.partitions {
            partitions.make_for(&mut connection, rows.iter().map(|row| row.record.timestamp.as_micros())).await?;
        }
        let put = match self.put_rows(&mut connection, &rows, true).await {
            Err(error) if is_passing(&error) => self.put_rows(&mut connection, &rows, false).await,
            put => put,
        };
        if !put.map_err(not_put)? {
            return Err(StoreError::unusable(tables::LATER));
        }
        self.begun.put(&rows);
        Ok(())
    }

    async fn put_gap(&self, gap: &Gap) -> Result<(), StoreError> {
        let count = gap.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let (from, to, why) = (gap.from.as_micros(), gap.to.as_micros(), gap.why.as_bytes());
        self.query(statements::PUT_GAP, &[&from, &to, &count, &why]).await.map(drop)
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
        let places = first.map(read_place).collect::<Result<Vec<_>, _>>()?;
        self.rows_of(COLUMNS, &places).await
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
        let (mut places, last) = async {
            // Both see the same entries: else those that come meanwhile would move the last one.
            let transaction = connection.build_transaction().isolation_level(RepeatableRead).read_only(true);
            let transaction = transaction.start().await?;
            let statement = transaction.prepare_cached(&statements::entries(keys.len(), *newest_first)).await?;
            let found = transaction.query(&statement, &parameters).await?;
            if found.len() > limit {
                return Ok((found, None));
            }
            let statement = transaction.prepare_cached(&statements::last_entry(*newest_first)).await?;
            let last = transaction.query(&statement, &last).await?;
            // With one behind it.
            Ok((found, last.into_iter().rev().nth(1)))
        }
        .await
        .map_err(failed)
        .and_then(|(found, last)| {
            let places = found.iter().map(read_place).collect::<Result<Vec<_>, _>>()?;
            Ok((places, last.as_ref().map(read_place).transpose()?))
        })?;
        drop(connection);
        let behind = if places.len() > limit {
            places.truncate(limit);
            places.last().cloned()
        } else {
            last
        };
        Ok(Hits { rows: self.rows_of(&short_columns(NULL), &places).await?, behind })
    }

    async fn has_object(&self, object: &str) -> Result<bool, StoreError> {
        Ok(!self.query("SELECT 1 FROM record WHERE object = $1 LIMIT 1", &[&object.as_bytes()]).await?.is_empty())
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        let rows = self.query("SELECT secret FROM about", &[]).await?;
        let secret = rows.first().and_then(|row| row.get::<_, &[u8]>(0).try_into().ok());
        secret.ok_or_else(|| StoreError::failed("there is no secret in the table `about`"))
    }

    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        self.read_any_open(window).await
    }

    async fn exported(&self, range: RowRange<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        self.read_exported(range, limit).await
    }

    fn jobs(&self) -> Option<&dyn super::Jobs> {
        Some(self)
    }
}

/// Puts the entries of rows at their times, but for those that are there since the rows have begun.
async fn put_entries(
    transaction: &Transaction<'_>,
    rows: &[&Row],
    statement: &str,
    time: impl Fn(&Row) -> Option<i64>,
    begun: impl Fn(&Row) -> Option<HashSet<Key>>,
) -> Result<(), tokio_postgres::Error> {
    let mut entries = Vec::new();
    for row in rows {
        // A row that stays as it was has the entries that it had.
        let Some(time) = time(row) else { continue };
        let there = begun(row).unwrap_or_default();
        let keys = row.keys.iter().chain(&row.end_keys).filter(|key| !there.contains(key));
        entries.extend(keys.map(|key| (key, time, row.record.id.as_str().as_bytes())));
    }
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort_unstable();
    entries.dedup();
    let keys: Vec<&[u8]> = entries.iter().map(|(key, ..)| key.as_bytes().as_slice()).collect();
    let times: Vec<i64> = entries.iter().map(|(_, time, _)| *time).collect();
    let ids: Vec<&[u8]> = entries.iter().map(|(.., id)| *id).collect();
    let statement = transaction.prepare_cached(statement).await?;
    transaction.execute(&statement, &[&keys, &times, &ids]).await.map(drop)
}
