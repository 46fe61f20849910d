//! The contract of a store: the trait [`Store`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::model::cursor::Cursor;
use crate::model::distinct::Distinct;
use crate::model::gap::Gap;
use crate::model::window::Window;
use crate::model::writer_status::{WriterReport, WriterStatus};
use crate::store::{ExportedRow, Jobs, Key, Row, RowRange, StoreError};

/// A store of records, such as [`Sqlite`](crate::store::Sqlite).
///
/// To write your own store, enable the feature `store` of this crate, and implement this trait with `#[async_trait]` of
/// the crate async-trait. `examples/own_store.rs` is a complete store in memory.
///
/// A store keeps these promises:
///
/// - When [`put`](Self::put) has returned, its rows survive whatever the store survives.
/// - A row is visible as a whole or not at all, and once visible, it stays.
/// - Texts are returned as they were put, with any character, including NUL. They are equal if their code points are.
/// - A page is ordered by (timestamp, id), and ids are compared by their bytes.
///
/// # Errors
///
/// Each method fails with [`StoreError::Overloaded`] if it may be called again shortly: an API then responds with 429,
/// and an export retries. Any other failure is [`StoreError::failed`], with the reason.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Puts rows. An existing row is replaced if it has not [ended](Row::ended) and the new one has, or if it has no
    /// execution time and the new one has. Otherwise, it stays as it is, so putting a row twice is harmless. The time
    /// of the first row stays, and so do its details if the new one has none. The keys of a row that is inserted, or
    /// that replaces another, are added to those of its id; none is removed.
    ///
    /// If one of the rows is [rejected](StoreError::Rejected), none of them need be stored: the caller puts the others
    /// again.
    ///
    /// The report of the writer, if there is one, updates the status of this run of it in the same transaction. A run
    /// that has not [reported](Self::report) yet has no status to update.
    async fn put(&self, rows: Arc<[Row]>, report: Option<&WriterReport>) -> Result<(), StoreError>;

    /// Puts rows like [`put`](Self::put), on a thread that may block: the writer of a query log. `runtime` drives futures.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    fn put_blocking(
        &self,
        rows: &Arc<[Row]>,
        report: Option<&WriterReport>,
        runtime: &Handle,
    ) -> Result<(), StoreError> {
        runtime.block_on(self.put(Arc::clone(rows), report))
    }

    /// Stores that records are missing. A gap that is put again under the same id replaces the earlier one. By default,
    /// this is only logged by `tracing`.
    async fn put_gap(&self, _id: Uuid, gap: &Gap) -> Result<(), StoreError> {
        tracing::error!(from = %gap.from, to = %gap.to, count = gap.count, why = %gap.why, "audit log: records are missing");
        Ok(())
    }

    /// Returns the gaps that overlap a window: at most `limit`, those that end last, in any order. A writer that is lost,
    /// but not marked yet as [`report`](Self::report) describes, has a gap too: of unknown count, from the time through
    /// which it has written everything until now. By default, there are none.
    async fn gaps(&self, _window: Window, _limit: usize) -> Result<Vec<Gap>, StoreError> {
        Ok(Vec::new())
    }

    /// Stores what a writer reports of itself: when it starts, every 5 seconds, and when it is closed. By default, this
    /// does nothing.
    ///
    /// In one transaction, a store
    ///
    /// - inserts or updates the status of the writer. If this is the first report of a run, and an earlier run was not
    ///   closed ([`kept_through`](WriterReport::kept_through)), it puts a [gap](Self::put_gap) of unknown count, from the
    ///   time through which that run has written or kept everything until this run started.
    /// - marks as lost the writers that were not closed, and have not reported for 30 seconds by the clock of the store,
    ///   if the report [asks for it](WriterReport::finds_lost). For each, it puts a gap of unknown count under the id of
    ///   the writer, from the time through which it has written everything until now. If a lost writer reports again, its
    ///   gap is deleted, and it is live again.
    /// - deletes the status of writers that were closed or lost more than 30 days ago.
    async fn report(&self, _report: &WriterReport) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns the writers that have [reported](Self::report), in the order of their ids. By default, there are none.
    async fn writers(&self) -> Result<Vec<WriterStatus>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns the row with an id.
    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError>;

    /// Returns the first rows of a range, in one of its two directions.
    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Returns the same rows as [`page`](Self::page), but may omit `stdout`, `stderr` and `udf_data`, and the pointer to
    /// their object.
    async fn short_page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.page(range, limit).await
    }

    /// Reads the first rows of a range, at most `scan`, and returns the first row of each value. Rows without a value
    /// are not returned.
    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Reads the first entries of a range of the index of [keys](Row::keys), at most `scan`, and returns the rows that
    /// have all of its keys, at most `limit`. May omit `stdout`, `stderr` and `udf_data`, and the pointer to their
    /// object.
    ///
    /// The entries are those of the first key. Rows whose timestamp differs from that of the entry are not returned.
    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError>;

    /// Returns, for each of these [objects](Row::object) in order, whether a row has values in it.
    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError>;

    /// Claims the [sweep](crate::AuditLog::sweep) of objects for a time, or releases it if the time is zero. Returns
    /// whether it is claimed: it is not while another process has it. By default, any number of processes have it.
    async fn claim_sweep(&self, _sweeper: Uuid, _time: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Returns 32 random bytes, which were generated when the store was created, and are the same for every process
    /// that opens it. The key that signs page tokens is derived from them.
    async fn secret(&self) -> Result<[u8; 32], StoreError>;

    /// Returns whether a request that started in a window is still running, as far as the store knows. An export waits
    /// for such requests. By default, this is `false`, so exports do not wait.
    async fn any_open(&self, _window: Window) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Returns the first entries of a range of the index of [keys](Row::keys), with what exports need of their rows.
    /// The row of an entry may no longer have that key.
    ///
    /// There may be fewer entries than `limit` even if more follow, for example when rows are large. There are none
    /// only at the end of the range. By default, this calls [`find`](Self::find).
    async fn exported(&self, range: RowRange<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        let mut range = range.map(|key| vec![key]);
        loop {
            let Hits { rows, behind } = self.find(range.clone(), limit, limit).await?;
            match behind {
                Some(behind) if rows.is_empty() => range = range.resume(behind),
                _ => return Ok(rows.into_iter().map(ExportedRow::of).collect()),
            }
        }
    }

    /// Returns the path of the file to which a log appends records that the store rejects, unless it is
    /// [set](crate::LogStore::rejected_file). By default there is none.
    fn rejected_file(&self) -> Option<PathBuf> {
        None
    }

    /// Returns the jobs of exports, if the store keeps them. `None` by default: the log cannot be exported.
    fn jobs(&self) -> Option<&dyn Jobs> {
        None
    }
}

/// Rows that were found by their keys.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Hits {
    /// The rows, in the order of the range.
    pub rows: Vec<Row>,
    /// The position after which there may be more rows; `None` if there are none.
    pub behind: Option<Cursor>,
}

impl Hits {
    /// Creates the result of a store: the rows, and the position after which there may be more.
    pub fn new(rows: Vec<Row>, behind: Option<Cursor>) -> Self {
        Self { rows, behind }
    }
}

/// A selection of records. Each variant has its own index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selection {
    /// The records of a user, by e-mail address, in every environment.
    User(String),
    /// The records of an environment.
    Environment(String),
    /// The records of an operation, by id, in an environment.
    UdfId {
        /// The environment.
        environment: String,
        /// The id.
        value: String,
    },
    /// The records of an operation, by name, in an environment.
    UdfName {
        /// The environment.
        environment: String,
        /// The name.
        value: String,
    },
    /// The records with a shared token, in an environment.
    SharedToken {
        /// The environment.
        environment: String,
        /// The token.
        value: String,
    },
}
