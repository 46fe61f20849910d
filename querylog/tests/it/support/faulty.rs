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
}

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
            0 => Ok(()),
            1 => Err(StoreError::failed("the store is away")),
            2 => {
                while self.mode.load(Relaxed) == Mode::Hangs as usize {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Ok(())
            }
            _ => Err(StoreError::unusable("the tables are of a later version")),
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn put(&self, rows: Arc<[Row]>, report: Option<&WriterReport>) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.put(rows, report).await
    }

    async fn put_gap(&self, id: Uuid, gap: &Gap) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.put_gap(id, gap).await
    }

    async fn gaps(&self, window: Window, limit: usize) -> Result<Vec<Gap>, StoreError> {
        self.inner.gaps(window, limit).await
    }

    async fn report(&self, report: &WriterReport) -> Result<(), StoreError> {
        self.check().await?;
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
