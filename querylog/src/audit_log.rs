//! The audit log: [`AuditLog`], a store and what is asked of it.

use std::sync::Arc;

use crate::audit::AuditRecord;
use crate::moment::Window;
use crate::store::{Distinct, Range, Row, Selection, Store, StoreError};

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
/// let mut record = AuditRecord::new(Uuid::now_v7(), "2025-04-01".parse::<tagtrail_querylog::Moment>()?);
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
pub struct AuditLog(Arc<dyn Store>);

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
    /// The audit log that is in a store.
    pub fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }

    /// Puts records into the log, and returns when they are as safe as the store makes them. To put one twice is
    /// harmless; one that had no execution time is completed by one that has.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn put(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.0.put(records.into_iter().map(Row::from).collect()).await
    }

    /// The record of an id.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn get(&self, id: &str) -> Result<Option<AuditRecord>, StoreError> {
        Ok(self.0.get(id).await?.map(|row| row.record))
    }

    /// The record of an id, if it is one of this environment.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn get_in(&self, exec_env_id: &str, id: &str) -> Result<Option<AuditRecord>, StoreError> {
        let row = self.0.get(id).await?;
        Ok(row.filter(|row| row.record.exec_env_id.as_deref() == Some(exec_env_id)).map(|row| row.record))
    }

    /// The first records of a range. Those behind them are [`Range::behind`] the last one.
    ///
    /// # Errors
    ///
    /// If the store fails, or has too much to do.
    pub async fn page(&self, range: Range, limit: usize) -> Result<Found, StoreError> {
        let mut rows = self.0.page(range, limit.saturating_add(1)).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Found { records: rows.into_iter().map(|row| row.record).collect(), more })
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
        let rows = self.0.first_of_each(range, distinct, scan).await?;
        Ok(rows.into_iter().map(|row| row.record).collect())
    }

    #[cfg(feature = "audit-api")]
    pub(crate) async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.0.secret().await
    }
}
