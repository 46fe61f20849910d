//! A store that fails on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use tagtrail_querylog::audit::Distinct;
use tagtrail_querylog::store::{
    Hits, Key, Row, RowRange, Selection, Sqlite, Store, StoreError, WriterReport, WriterStatus,
};
use tagtrail_querylog::{Gap, Window};
use uuid::Uuid;

/// A store that fails, hangs or refuses for good, until that is undone. Clones share it.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Sqlite,
    mode: Arc<AtomicUsize>,
    pub attempts: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
#[repr(usize)]
pub enum Mode {
    Works,
    /// Each call fails at once.
    Away,
    /// Calls do not return.
    Hangs,
    /// As if its tables were of a later version.
    Unusable,
    /// Each call does what it should, but its response is lost.
    Mute,
    /// Rows fail, or are rejected; reports work.
    Rejects,
    Panics,
    /// Rows fail, reports work.
    Reports,
}

/// Rows with this text in their details are rejected, however often they are put.
pub const REJECTED: &str = "/rejected";

impl Faulty {
    pub fn new(inner: Sqlite) -> Self {
        Self { inner, mode: Arc::default(), attempts: Arc::default() }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as usize, Relaxed);
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.attempts.fetch_add(1, Relaxed);
        match self.mode.load(Relaxed) {
            0 | 4 => Ok(()),
            1 | 5 | 7 => Err(StoreError::failed("the store is away")),
            2 => {
                while self.mode.load(Relaxed) == Mode::Hangs as usize {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Ok(())
            }
            3 => Err(StoreError::unusable("the tables are of a later version")),
            _ => panic!("on purpose"),
        }
    }

    /// Loses what the store responds, if it does.
    fn respond<T>(&self, response: T) -> Result<T, StoreError> {
        let is_mute = self.mode.load(Relaxed) == Mode::Mute as usize;
        if is_mute { Err(StoreError::failed("the connection was closed")) } else { Ok(response) }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn put(&self, rows: Arc<[Row]>, report: Option<&WriterReport>) -> Result<(), StoreError> {
        let checked = self.check().await;
        let is_rejected = |row: &Row| row.details.as_ref().is_some_and(|details| details.contains(REJECTED));
        if (checked.is_ok() || self.mode.load(Relaxed) == Mode::Rejects as usize) && rows.iter().any(is_rejected) {
            return Err(StoreError::rejected("on purpose"));
        }
        checked?;
        self.inner.put(rows, report).await?;
        self.respond(())
    }

    async fn put_gap(&self, id: Uuid, gap: &Gap) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.put_gap(id, gap).await?;
        self.respond(())
    }

    async fn gaps(&self, window: Window, limit: usize) -> Result<Vec<Gap>, StoreError> {
        self.inner.gaps(window, limit).await
    }

    async fn report(&self, report: &WriterReport) -> Result<(), StoreError> {
        let mode = self.mode.load(Relaxed);
        if mode != Mode::Reports as usize && mode != Mode::Rejects as usize {
            self.check().await?;
        }
        self.inner.report(report).await
    }

    async fn writers(&self) -> Result<Vec<WriterStatus>, StoreError> {
        self.inner.writers().await
    }

    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        self.inner.get(id).await
    }

    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.inner.page(range, limit).await
    }

    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.first_of_each(range, of, scan).await
    }

    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        self.inner.find(range, limit, scan).await
    }

    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        self.inner.have_objects(objects).await
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.inner.secret().await
    }
}
