//! The audit log: [`AuditLog`], a store and what is asked of it.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::backend::Backend;
use crate::audit::scoped::ScopedAuditLog;
use crate::model::audit_record::AuditRecord;
use crate::model::coverage::Coverage;
use crate::model::gap::Gap;
use crate::model::record::Record;
use crate::model::window::Window;
use crate::model::writer_status::WriterStatus;
#[cfg(feature = "sqlite")]
use crate::store::Sqlite;
use crate::store::{Payloads, Row, Store, StoreError};

/// An audit log: records are put into it, and found again by [who asks](Self::scoped). A clone is the same log.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use tagtrail_querylog::store::Sqlite;
/// use tagtrail_querylog::{AuditLog, Timestamp, Window};
/// use tagtrail_querylog::audit::{AuditRecord, Questions, RecordQuery, Scan};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn run(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let log = AuditLog::new(Sqlite::open(path)?);
/// let mut record = AuditRecord::new(Uuid::now_v7(), "2025-04-01".parse::<Timestamp>()?);
/// record.exec_env_id = Some("env".into());
/// log.put(vec![record.clone()]).await?;
///
/// let april = Window::parse(Some("2025-04-01"), Some("2025-04-30"))?;
/// let page = log.scoped("env").records(&Scan::new(RecordQuery::Environment, april), 100).await?;
/// assert_eq!(page.items, [record]);
/// assert_eq!(page.next, None);
/// # Ok(())
/// # }
/// # run(&path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuditLog(Backend);

impl AuditLog {
    /// Opens the audit log in a file of SQLite, with a folder beside it for long values, of the same name with `.payloads`
    /// after it. Both are created if they are not there. Blocks while it does so.
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

    /// Creates the audit log that is in a store, long values too.
    pub fn new(store: impl Store) -> Self {
        Self(Backend { store: Arc::new(store), payloads: None })
    }

    /// Keeps long values in an object store.
    #[must_use]
    pub fn payloads(self, payloads: Payloads) -> Self {
        Self(Backend { payloads: Some(payloads), ..self.0 })
    }

    /// Deletes what crashes left in the object store: objects of at least this age that no record has, and files that were
    /// never completed. Returns how many. An hour is a good age; a record that is put gets its objects shortly before its
    /// row.
    ///
    /// If several processes share a store in PostgreSQL, one of them sweeps at a time; for the others, this returns 0 at
    /// once. If they share one in SQLite, call this in one of them.
    ///
    /// # Errors
    ///
    /// If one of the two stores fails.
    pub async fn sweep(&self, age: Duration) -> Result<u64, StoreError> {
        match &self.0.payloads {
            Some(payloads) => payloads.sweep(&*self.0.store, age).await,
            None => Ok(0),
        }
    }

    /// Puts records into the log, and returns when they are as safe as the store makes them. To put one twice is
    /// harmless; one that was only started, or had no execution time, is completed.
    ///
    /// # Errors
    ///
    /// If the store fails, has too much to do, or [rejects](StoreError::Rejected) one of them: then put the others without
    /// it.
    pub async fn put(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_rows(records.into_iter().map(|record| Row::of(record, true)).collect()).await
    }

    /// Puts the starts of records into the log: those of work that runs. Each is there without its end until it is
    /// [put](Self::put).
    ///
    /// # Errors
    ///
    /// If the store fails, has too much to do, or [rejects](StoreError::Rejected) one of them: then put the others without
    /// it.
    pub async fn begin(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_rows(records.into_iter().map(|record| Row::of(record, false)).collect()).await
    }

    /// Puts requests into the log, as a [query log](crate::LogStore) does: with all that is known of them, so
    /// that they are found by trace, tag, status and route too. One that has no outcome has only started.
    ///
    /// # Errors
    ///
    /// If the store fails, has too much to do, or [rejects](StoreError::Rejected) one of them: then put the others without
    /// it.
    pub async fn put_requests(&self, requests: &[Record]) -> Result<(), StoreError> {
        self.put_rows(requests.iter().cloned().map(Row::from).collect()).await
    }

    /// Puts rows, such as those of requests ([`Row::from`]), and returns which of them the store rejects, by their
    /// positions, and why. All others are in the store then. Each long value is stored once, however many rows are
    /// rejected.
    ///
    /// # Errors
    ///
    /// If the store fails or is overloaded. Some of the rows may be in the store then.
    pub async fn put_each(&self, mut rows: Vec<Row>) -> Result<Vec<(usize, StoreError)>, StoreError> {
        self.0.take_out(&mut rows).await?;
        let rows: Arc<[Row]> = rows.into();
        let mut rejected = Vec::new();
        let mut rest: Vec<_> = std::iter::once(0..rows.len()).collect();
        // Rows that are rejected together are halved, until those that are rejected alone are known.
        while let Some(range) = rest.pop().filter(|range| !range.is_empty()) {
            let some = if range.len() == rows.len() { Arc::clone(&rows) } else { rows[range.clone()].into() };
            match self.0.store.put(some, None).await {
                Ok(()) => {}
                Err(error @ StoreError::Rejected(_)) if range.len() == 1 => rejected.push((range.start, error)),
                Err(StoreError::Rejected(_)) => {
                    let middle = range.start + range.len() / 2;
                    rest.extend([middle..range.end, range.start..middle]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rejected)
    }

    async fn put_rows(&self, mut rows: Vec<Row>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.0.take_out(&mut rows).await?;
        self.0.store.put(rows.into(), None).await
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// Returns what is known to be missing and touches a window, in the order of time: what a [`LogStore`](crate::LogStore)
    /// could not write, of all environments.
    ///
    /// # Errors
    ///
    /// If the store fails or is overloaded.
    pub async fn gaps(&self, window: Window) -> Result<Vec<Gap>, StoreError> {
        let mut gaps = self.0.store.gaps(window, usize::MAX).await?;
        gaps.sort_by_key(|gap| (gap.from, gap.to));
        Ok(gaps)
    }

    /// Returns what is missing from a window: the [gaps](Self::gaps), and the [writers](Self::writers) that have not
    /// written all of it yet. Ask this first, and then for records: what is stored meanwhile is then at worst said to be
    /// missing.
    ///
    /// # Errors
    ///
    /// If the store fails or is overloaded.
    pub async fn coverage(&self, window: Window) -> Result<Coverage, StoreError> {
        self.0.coverage(window).await
    }

    /// Returns the processes that write into the store, or did so within the last 30 days, in the order of their ids: how
    /// far each has written, and whether it still does. What a live writer has not written yet is not found.
    ///
    /// # Errors
    ///
    /// If the store fails or is overloaded.
    pub async fn writers(&self) -> Result<Vec<WriterStatus>, StoreError> {
        self.0.store.writers().await
    }

    /// Returns the log as an environment may ask it: all questions are about its records.
    pub fn scoped(&self, exec_env_id: impl Into<String>) -> ScopedAuditLog {
        ScopedAuditLog::new(self.0.clone(), exec_env_id.into())
    }

    #[cfg(any(feature = "audit-api", feature = "export"))]
    pub(crate) async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.0.store.secret().await
    }
}
