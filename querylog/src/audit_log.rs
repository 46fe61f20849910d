//! The audit log: [`AuditLog`], a store and what is asked of it.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditRecord;
#[cfg(feature = "sqlite")]
use crate::store::Sqlite;
use crate::store::{Distinct, Payloads, Range, Row, Selection, Store, StoreError};
use crate::window::Window;

/// An audit log: records are put into it, and found again. A clone is the same log.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use tagtrail_querylog::store::{Range, Selection, Sqlite};
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
/// let found = log.page(Range::new(Selection::Environment("env".into()), april), 100).await?;
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
    /// If the store fails, or has too much to do.
    pub async fn put(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_some(records.into_iter().map(|record| (record, true)).collect()).await
    }

    /// Puts the begins of records into the log: those of work that runs. Each is there without its end until it is
    /// [put](Self::put).
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn begin(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.put_some(records.into_iter().map(|record| (record, false)).collect()).await
    }

    /// Puts records, each with whether it has ended.
    pub(crate) async fn put_some(&self, records: Vec<(AuditRecord, bool)>) -> Result<(), StoreError> {
        let rows = records.into_iter().map(|(record, ended)| Row { record, object: None, ended }).collect();
        let rows = match &self.payloads {
            Some(payloads) => payloads.take_out(rows).await?,
            None => rows,
        };
        self.store.put(rows).await
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

    /// The first records of a range. Those behind them are [`Range::behind`] the last one.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn page(&self, range: Range, limit: usize) -> Result<Found, StoreError> {
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
        let range = Range::new(of, window).newest_first(true);
        let rows = self.store.first_of_each(range, distinct, scan).await?;
        self.whole(rows).await
    }

    #[cfg(feature = "audit-api")]
    pub(crate) async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.store.secret().await
    }
}
