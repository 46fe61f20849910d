//! The audit log: [`AuditLog`], a store and what is asked of it.

use std::sync::Arc;
use std::time::Duration;

use tagtrail::TraceId;

use crate::audit::requests::RequestFilter;
use crate::audit::row::{request_of, row_of};
use crate::model::audit_record::AuditRecord;
use crate::model::distinct::Distinct;
use crate::model::gap::Gap;
use crate::model::record::Record;
use crate::model::scan::{Cursor, Scan};
use crate::model::trace_tree::TraceTree;
use crate::model::window::Window;
#[cfg(feature = "sqlite")]
use crate::store::Sqlite;
use crate::store::{Hits, Payloads, Row, Selection, Store, StoreError};

/// An audit log: records are put into it, and found again. A clone is the same log.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use tagtrail_querylog::store::{Selection, Sqlite};
/// use tagtrail_querylog::Scan;
/// use tagtrail_querylog::{AuditLog, AuditRecord, Window};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn run(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let log = AuditLog::new(Sqlite::open(path)?);
/// let mut record = AuditRecord::new(Uuid::now_v7(), "2025-04-01".parse::<tagtrail_querylog::Timestamp>()?);
/// record.exec_env_id = Some("env".into());
/// log.put(vec![record.clone()]).await?;
///
/// let april = Window::parse(Some("2025-04-01"), Some("2025-04-30"))?;
/// let found = log.page(Scan::new(Selection::Environment("env".into()), april), 100).await?;
/// assert_eq!(found.records, [record]);
/// assert!(!found.more);
/// # Ok(())
/// # }
/// # run(&path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuditLog {
    store: Arc<dyn Store>,
    payloads: Option<Payloads>,
}

/// A page of records.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// The records, in the order of the range.
    pub records: Vec<AuditRecord>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A page of requests.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FoundRequests {
    /// The requests, in the order of the range, without what they printed.
    pub requests: Vec<Record>,
    /// What is left of the range; `None` where nothing is.
    pub next: Option<Scan<RequestFilter>>,
}

/// How many entries of an index are read for one page of requests.
const SCAN: usize = 5_000;

impl AuditLog {
    /// The audit log in a file of SQLite, with a folder beside it for long values, of the same name with `.payloads`
    /// behind it. Both are made where they are not there. Blocks while it does so.
    ///
    /// # Errors
    ///
    /// If the file or the folder cannot be opened.
    #[cfg(feature = "sqlite")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, StoreError> {
        let mut folder = path.as_ref().as_os_str().to_owned();
        folder.push(".payloads");
        Ok(Self::new(Sqlite::open(path)?).payloads(Payloads::folder(folder)?))
    }

    /// The audit log that is in a store, long values too.
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), payloads: None }
    }

    /// With long values in an object store.
    #[must_use]
    pub fn payloads(self, payloads: Payloads) -> Self {
        Self { payloads: Some(payloads), ..self }
    }

    /// Deletes what a crash left in the object store: objects of this age and over, that no record has. Returns how
    /// many. An hour is a good age; a record that is put gets its objects shortly before its row.
    ///
    /// # Errors
    ///
    /// If one of the two stores fails.
    pub async fn sweep(&self, age: Duration) -> Result<u64, StoreError> {
        match &self.payloads {
            Some(payloads) => payloads.sweep(&*self.store, age).await,
            None => Ok(0),
        }
    }

    async fn whole(&self, rows: Vec<Row>) -> Result<Vec<AuditRecord>, StoreError> {
        match &self.payloads {
            Some(payloads) => payloads.put_back(rows).await,
            None if rows.iter().any(|row| row.object.is_some()) => {
                Err(StoreError::failed("records have long values in an object store, and none is set up"))
            }
            None => Ok(rows.into_iter().map(|row| row.record).collect()),
        }
    }

    /// Puts records into the log, and returns when they are as safe as the store makes them. To put one twice is
    /// harmless; one that was only begun, or had no execution time, is completed.
    ///
    /// # Errors
    ///
    /// If the store fails, has too much to do, or [refuses](StoreError::Rejected) one of them: then put the others without
    /// it.
    pub async fn put(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_rows(records.into_iter().map(|record| Row::of(record, true)).collect()).await
    }

    /// Puts the begins of records into the log: those of work that runs. Each is there without its end until it is
    /// [put](Self::put).
    ///
    /// # Errors
    ///
    /// If the store fails, has too much to do, or [refuses](StoreError::Rejected) one of them: then put the others without
    /// it.
    pub async fn begin(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_rows(records.into_iter().map(|record| Row::of(record, false)).collect()).await
    }

    /// Puts requests into the log, as a [query log](crate::QueryLog::storing) does: with all that is known of them, so
    /// that they are found by trace, tag, status and route too. One that has no outcome has only begun.
    ///
    /// # Errors
    ///
    /// If the store fails, has too much to do, or [refuses](StoreError::Rejected) one of them: then put the others without
    /// it.
    pub async fn put_requests(&self, requests: &[Record]) -> Result<(), StoreError> {
        self.put_rows(requests.iter().cloned().map(row_of).collect()).await
    }

    async fn put_rows(&self, mut rows: Vec<Row>) -> Result<(), StoreError> {
        self.take_out(&mut rows).await?;
        self.store.put(rows.into()).await
    }

    /// Moves the long values of rows to the object store. What is there already stays, so that it may be called again.
    pub(crate) async fn take_out(&self, rows: &mut [Row]) -> Result<(), StoreError> {
        match &self.payloads {
            Some(payloads) => payloads.take_out(rows).await,
            None => Ok(()),
        }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns what is known to be missing and touches a window, in the order of time: what a [`LogStore`](crate::LogStore)
    /// could not write, of all environments.
    ///
    /// # Errors
    ///
    /// If the store fails or is overloaded.
    pub async fn gaps(&self, window: Window) -> Result<Vec<Gap>, StoreError> {
        self.store.gaps(window).await
    }

    /// The record of an id.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn get(&self, id: &str) -> Result<Option<AuditRecord>, StoreError> {
        let row = self.store.get(id).await?;
        Ok(self.whole(row.into_iter().collect()).await?.pop())
    }

    /// The record of an id, if it is one of this environment.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn get_in(&self, exec_env_id: &str, id: &str) -> Result<Option<AuditRecord>, StoreError> {
        let row = self.store.get(id).await?;
        let row = row.filter(|row| row.record.exec_env_id.as_deref() == Some(exec_env_id));
        Ok(self.whole(row.into_iter().collect()).await?.pop())
    }

    /// The first records of a range. Those behind them are [`Scan::behind`] the last one.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn page(&self, range: Scan<Selection>, limit: usize) -> Result<Found, StoreError> {
        let mut rows = self.store.page(range, limit.saturating_add(1)).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Found { records: self.whole(rows).await?, more })
    }

    /// Reads the newest records of a window, as many as `scan`, and returns the latest of each value, the newest first.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn latest(
        &self,
        of: Selection,
        window: Window,
        distinct: Distinct,
        scan: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let range = Scan::new(of, window).newest_first(true);
        let rows = self.store.first_of_each(range, distinct, scan).await?;
        self.whole(rows).await
    }

    /// The first requests of a range, without what they printed. There may be fewer than `limit`, and more behind them:
    /// so many records are read at a time, and no more. A limit of 0 is one of 1.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("audit.db");
    /// use std::time::Duration;
    /// use tagtrail::{Sample, Trail};
    /// use tagtrail_querylog::Scan;
    /// use tagtrail_querylog::{AuditLog, Outcome, Record, RequestFilter, Window};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn run(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
    /// record.notes.caller.exec_env_id = Some("env1".into());
    /// record.response.status = Some(503);
    /// record.end(Duration::from_secs(1), Outcome::Complete);
    ///
    /// let log = AuditLog::open(path)?;
    /// log.put_requests(std::slice::from_ref(&record)).await?;
    ///
    /// let mut range = Scan::new(RequestFilter::of("env1").status("5xx".parse()?), Window::ALL);
    /// loop {
    ///     let found = log.requests(range, 100).await?;
    ///     assert_eq!(found.requests, [record.clone()]);
    ///     let Some(next) = found.next else { break };
    ///     range = next;
    /// }
    /// # Ok(())
    /// # }
    /// # run(&path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn requests(&self, range: Scan<RequestFilter>, limit: usize) -> Result<FoundRequests, StoreError> {
        let Hits { rows, behind } = self.hits(&range, limit).await?;
        Ok(FoundRequests { requests: requests_of(rows, &range.of), next: behind.map(|place| range.behind(place)) })
    }

    async fn hits(&self, range: &Scan<RequestFilter>, limit: usize) -> Result<Hits, StoreError> {
        // A page of none would have no place to go on from.
        let limit = limit.max(1);
        Ok(match range.of.all_of() {
            None => self.store.find(range.clone().map(|requests| requests.keys()), limit, SCAN).await?,
            Some(environment) => {
                let of = Selection::Environment(environment.to_owned());
                let mut rows = self.store.short_page(range.clone().map(|_| of), limit.saturating_add(1)).await?;
                let more = rows.len() > limit;
                rows.truncate(limit);
                Hits { behind: rows.last().filter(|_| more).map(|row| Cursor::of(&row.record)), rows }
            }
        })
    }

    /// The requests of a trace, in an environment, as a tree.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn trace(&self, exec_env_id: &str, trace_id: TraceId) -> Result<TraceTree, StoreError> {
        let range = Scan::new(RequestFilter::of(exec_env_id).trace(trace_id), Window::ALL);
        let Hits { rows, behind } = self.hits(&range, TraceTree::MOST).await?;
        // They may be thousands: not on a thread that others wait for.
        let trace = move || TraceTree::of(requests_of(rows, &range.of), behind.is_none());
        tokio::task::spawn_blocking(trace).await.map_err(StoreError::failed)
    }

    #[cfg(any(feature = "audit-api", feature = "export"))]
    pub(crate) async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.store.secret().await
    }
}

/// The requests of rows that were found: an entry of the index may be of what was so when its request began.
fn requests_of(rows: Vec<Row>, asked: &RequestFilter) -> Vec<Record> {
    rows.into_iter().filter_map(request_of).filter(|record| asked.has(record)).collect()
}
