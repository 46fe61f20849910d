//! The store itself: [`Postgres`].

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::model::distinct::Distinct;
use crate::model::gap::{Gap, NO_REPORTS};
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::model::writer_status::{WriterReport, WriterStatus};
use crate::store::exported::PAGE_BYTES;
use crate::store::postgres::error::{has_entries, has_moved, not_put};
use crate::store::postgres::home::Home;
use crate::store::postgres::put::Put;
use crate::store::postgres::reads::NULL;
use crate::store::postgres::rows::{get, read_exported, read_gap, read_row};
use crate::store::postgres::server::{Parameter, Server, borrowed, bytes, parameter};
use crate::store::postgres::{prune, statements, tables, writers};
use crate::store::sql::{COLUMNS, SILENT, many, short_columns, whole_micros, without_starts};
use crate::store::{ExportedRow, Hits, Jobs, Key, Row, RowRange, Selection, Store, StoreError};

/// How often a put is repeated at once if the tables change meanwhile.
const RETRIES: usize = 10;

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
    pub(super) home: Arc<Home>,
    pub(super) server: Arc<Server>,
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
        let server = Arc::clone(&self.server);
        self.home.run(async move { prune::drop_before(&server, before).await }).await
    }

    /// Runs a statement that reads, within the limit of a query.
    pub(super) async fn query(
        &self,
        text: impl Into<String>,
        parameters: Vec<Parameter>,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        self.query_within(self.server.limits().query, text, parameters).await
    }

    async fn query_within(
        &self,
        limit: Duration,
        text: impl Into<String>,
        parameters: Vec<Parameter>,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let (server, text) = (Arc::clone(&self.server), text.into());
        self.home.run(async move { server.query(limit, &text, &borrowed(&parameters)).await }).await
    }

    /// Runs a statement that writes, unless another process has migrated the tables to another version meanwhile.
    pub(super) async fn write(
        &self,
        text: impl Into<String>,
        parameters: Vec<Parameter>,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let (server, text) = (Arc::clone(&self.server), text.into());
        self.home.run(async move { server.write(&text, &borrowed(&parameters)).await }).await
    }

    async fn range(&self, columns: String, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let server = Arc::clone(&self.server);
        let rows = self.home.run(async move { server.range(&columns, &range, limit).await }).await?;
        rows.iter().map(read_row).collect()
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
        self.home.run(put(Arc::clone(&self.server), rows, report.cloned())).await
    }

    /// On the runtime of the store: the caller's need not be there.
    fn put_blocking(&self, rows: &Arc<[Row]>, report: Option<&WriterReport>, _: &Handle) -> Result<(), StoreError> {
        self.home.run_blocking(put(Arc::clone(&self.server), Arc::clone(rows), report.cloned()))
    }

    async fn put_gap(&self, id: Uuid, gap: &Gap) -> Result<(), StoreError> {
        self.write(statements::PUT_GAP, writers::gap_parameters(id, gap)).await.map(drop)
    }

    async fn report(&self, report: &WriterReport) -> Result<(), StoreError> {
        let (server, report) = (Arc::clone(&self.server), report.clone());
        let reported = async move {
            server.tables().await?;
            let mut lease = server.lease().await?;
            let reported = timeout(server.limits().write, writers::report(&mut lease, &report)).await;
            lease.finish(reported)
        };
        self.home.run(reported).await
    }

    async fn writers(&self) -> Result<Vec<WriterStatus>, StoreError> {
        let rows = self.query(writers::read_text(), vec![parameter(SILENT)]).await?;
        rows.iter().map(writers::read_status).collect()
    }

    async fn gaps(&self, window: Window, limit: usize) -> Result<Vec<Gap>, StoreError> {
        let (start, end) = (window.start.as_micros(), window.end.as_micros());
        let parameters =
            vec![parameter(start), parameter(end), parameter(many(limit)), parameter(SILENT), bytes(NO_REPORTS)];
        self.query(writers::gaps_text(), parameters).await?.iter().map(read_gap).collect()
    }

    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM record WHERE id = $1 ORDER BY timestamp LIMIT 1");
        self.query(text, vec![bytes(id)]).await?.first().map(read_row).transpose()
    }

    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.range(COLUMNS.to_owned(), range, limit).await
    }

    async fn short_page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.range(short_columns(NULL), range, limit).await
    }

    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.home.run(Arc::clone(&self.server).first_of_each(range, of, scan)).await
    }

    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        self.home.run(Arc::clone(&self.server).find(range, limit, scan)).await
    }

    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        let wanted: Vec<Vec<u8>> = objects.iter().map(|object| object.clone().into_bytes()).collect();
        let text = "SELECT DISTINCT object FROM record WHERE object = ANY ($1)";
        let found = self.query_within(self.server.limits().maintenance, text, vec![parameter(wanted)]).await?;
        let found = found.iter().map(|row| get(row, 0)).collect::<Result<HashSet<&[u8]>, _>>()?;
        Ok(objects.iter().map(|object| found.contains(object.as_bytes())).collect())
    }

    async fn claim_sweep(&self, sweeper: Uuid, time: Duration) -> Result<bool, StoreError> {
        let parameters = vec![bytes(&sweeper.to_string()), parameter(whole_micros(time))];
        Ok(!self.write(statements::CLAIM_SWEEP, parameters).await?.is_empty())
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        let rows = self.query("SELECT secret FROM about", Vec::new()).await?;
        let secret = rows.first().and_then(|row| row.get::<_, &[u8]>(0).try_into().ok());
        secret.ok_or_else(|| StoreError::failed("the table `about` has no secret"))
    }

    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        let parameters = [window.start, window.end].map(|time| parameter(time.as_micros()));
        let limit = self.server.limits().maintenance;
        Ok(!self.query_within(limit, statements::OPEN, parameters.into()).await?.is_empty())
    }

    async fn exported(&self, range: RowRange<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        let RowRange { of: key, after, before, .. } = range;
        let parameters = vec![
            parameter(key.as_bytes().to_vec()),
            parameter(after.micros),
            bytes(&after.id),
            parameter(before.micros),
            bytes(&before.id),
            parameter(many(limit)),
            parameter(many(PAGE_BYTES)),
        ];
        let rows = self.query_within(self.server.limits().maintenance, statements::EXPORTED, parameters).await?;
        rows.iter().map(read_exported).collect()
    }

    fn jobs(&self) -> Option<&dyn Jobs> {
        Some(self)
    }
}

async fn put(server: Arc<Server>, rows: Arc<[Row]>, report: Option<WriterReport>) -> Result<(), StoreError> {
    let tables = server.tables().await?;
    let rows: Vec<&Row> = without_starts(rows.iter()).collect();
    let mut lease = server.lease().await?;
    let put = Put { started: &server.started, partition: tables.partition(), report: report.as_ref() };
    let is_put = timeout(server.limits().write, async {
        if let Some(partitions) = &tables.partitions {
            partitions.create_for(&mut lease, rows.iter().map(|row| row.record.timestamp.as_micros())).await?;
        }
        let mut is_put = put.put_rows(&mut lease, &rows, true).await;
        if is_put.as_ref().is_err_and(has_entries) {
            is_put = put.put_rows(&mut lease, &rows, false).await;
        }
        // Each of the tables may get partitions meanwhile.
        for _ in 0..RETRIES {
            if !is_put.as_ref().is_err_and(has_moved) {
                break;
            }
            is_put = put.put_rows(&mut lease, &rows, false).await;
        }
        is_put.map_err(not_put).and_then(tables::check)
    })
    .await;
    lease.finish(is_put)?;
    server.started.put(&rows);
    Ok(())
}
