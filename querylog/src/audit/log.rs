//! The audit log: [`AuditLog`].

use std::sync::Arc;
use std::time::Duration;

use crate::audit::row::row_of;
use crate::audit::scoped::ScopedAuditLog;
use crate::model::audit_record::AuditRecord;
use crate::model::gap::Gap;
use crate::model::record::Record;
use crate::model::window::Window;
#[cfg(feature = "sqlite")]
use crate::store::Sqlite;
use crate::store::{Payloads, Row, Store, StoreError};

/// An audit log, which keeps records in a store. Queries are [scoped](Self::scoped) to an environment. Clones share the
/// log.
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
pub struct AuditLog {
    store: Arc<dyn Store>,
    payloads: Option<Payloads>,
}

impl AuditLog {
    /// Opens the audit log in a file of SQLite, with a folder next to it for long values, whose name ends in
    /// `.payloads`. Both are created if they do not exist. Blocks meanwhile.
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

    /// Creates an audit log in a store, which keeps long values too.
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), payloads: None }
    }

    /// Keeps long values in an object store.
    #[must_use]
    pub fn payloads(self, payloads: Payloads) -> Self {
        Self { payloads: Some(payloads), ..self }
    }

    /// Deletes objects that a crash left in the object store: those of at least this age that no record has. Returns
    /// their number. An hour is a good age, since objects are stored shortly before their row.
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

    /// Returns the records of rows, with their long values.
    pub(super) async fn whole(&self, rows: Vec<Row>) -> Result<Vec<AuditRecord>, StoreError> {
        match &self.payloads {
            Some(payloads) => payloads.put_back(rows).await,
            None if rows.iter().any(|row| row.object.is_some()) => Err(StoreError::failed(
                "records have long values in an object store, but none is configured; see `AuditLog::payloads`",
            )),
            None => Ok(rows.into_iter().map(|row| row.record).collect()),
        }
    }

    /// Puts records into the log, and returns when they are as safe as the store makes them. Putting a record twice is
    /// harmless. A record that was only started, or that had no execution time, is completed.
    ///
    /// # Errors
    ///
    /// If the store fails, is overloaded, or [rejects](StoreError::Rejected) a record: then put the others without it.
    pub async fn put(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_rows(records.into_iter().map(|record| Row::of(record, true)).collect()).await
    }

    /// Puts the starts of records into the log, for work that is still running. Each is stored without its end until it
    /// is [put](Self::put).
    ///
    /// # Errors
    ///
    /// If the store fails, is overloaded, or [rejects](StoreError::Rejected) a record: then put the others without it.
    pub async fn begin(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_rows(records.into_iter().map(|record| Row::of(record, false)).collect()).await
    }

    /// Puts requests into the log, as a [query log](crate::LogStore) does: with all of their details, so that they are
    /// also found by trace, tag, status and route. A request without an outcome has only started.
    ///
    /// # Errors
    ///
    /// If the store fails, is overloaded, or [rejects](StoreError::Rejected) a record: then put the others without it.
    pub async fn put_requests(&self, requests: &[Record]) -> Result<(), StoreError> {
        self.put_rows(requests.iter().cloned().map(row_of).collect()).await
    }

    async fn put_rows(&self, mut rows: Vec<Row>) -> Result<(), StoreError> {
        self.take_out(&mut rows).await?;
        self.store.put(rows.into()).await
    }

    /// Moves the long values of rows to the object store. Values that were moved already stay, so this can be retried.
    pub(crate) async fn take_out(&self, rows: &mut [Row]) -> Result<(), StoreError> {
        match &self.payloads {
            Some(payloads) => payloads.take_out(rows).await,
            None => Ok(()),
        }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the gaps that overlap a window, in the order of time: what a [`LogStore`](crate::LogStore) could not
    /// write, in all environments.
    ///
    /// # Errors
    ///
    /// If the store fails or is overloaded.
    pub async fn gaps(&self, window: Window) -> Result<Vec<Gap>, StoreError> {
        self.store.gaps(window).await
    }

    /// Returns the log as an environment may query it: all queries are about its records.
    pub fn scoped(&self, exec_env_id: impl Into<String>) -> ScopedAuditLog {
        ScopedAuditLog::new(self.clone(), exec_env_id.into())
    }

    #[cfg(any(feature = "audit-api", feature = "export"))]
    pub(crate) async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.store.secret().await
    }
}
