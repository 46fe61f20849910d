//! What a store does: the trait [`Store`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;

use crate::model::cursor::Cursor;
use crate::model::distinct::Distinct;
use crate::model::gap::Gap;
use crate::model::window::Window;
use crate::store::{ExportedRow, Jobs, Key, Row, RowRange, StoreError};

/// Keeps records. [`Sqlite`](crate::store::Sqlite) is one.
///
/// To write your own store, implement this trait with `#[async_trait]` of the crate async-trait, and the feature `store`
/// of this crate. `examples/own_store.rs` is a whole one, in memory.
///
/// A store keeps these promises:
///
/// - A record whose future has returned from [`put`](Self::put) survives whatever the store survives.
/// - A row is seen whole or not at all, and once seen, it stays.
/// - Texts come back as they were put, with every character there is, including NUL. They are equal if their code points
///   are.
/// - The order of a page is that of (timestamp, id), where ids are compared by their bytes.
///
/// # Errors
///
/// Each method fails with [`StoreError::Overloaded`] if it may be called again a little later: an API responds with 429
/// then, and an export tries again. Any other failure is [`StoreError::failed`], with the reason.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Puts rows. A row that is there already is replaced if it has not [ended](Row::ended) and the new one has, or if it
    /// has no execution time and the new one has; otherwise it stays as it is. So it is harmless to put a row twice. The
    /// time of the first one stays, and so do its details if the new one has none. Keys of a row that is put, or that
    /// replaces another, are added to those of its id; none is taken away.
    ///
    /// If one of the rows is [rejected](StoreError::Rejected), none of them need be there; they are put again without
    /// that one.
    async fn put(&self, rows: Arc<[Row]>) -> Result<(), StoreError>;

    /// Does the same as [`put`](Self::put), on a thread that may block: the one that writes a query log. `runtime` drives
    /// what is async.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    fn put_blocking(&self, rows: &Arc<[Row]>, runtime: &Handle) -> Result<(), StoreError> {
        runtime.block_on(self.put(Arc::clone(rows)))
    }

    /// Keeps what is known to be missing. By default a store has no place for it, and the log of the process has it.
    async fn put_gap(&self, gap: &Gap) -> Result<(), StoreError> {
        tracing::error!(from = %gap.from, to = %gap.to, count = gap.count, why = %gap.why, "audit log: records are missing");
        Ok(())
    }

    /// Returns what is known to be missing and touches a window, in the order of time.
    async fn gaps(&self, _window: Window) -> Result<Vec<Gap>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns the row of an id.
    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError>;

    /// Returns the first rows of a range, in one of its two directions.
    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Like [`page`](Self::page), but may omit `stdout`, `stderr` and `udf_data`, and the pointer to their object.
    async fn short_page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.page(range, limit).await
    }

    /// Reads the first rows of a range, as many as `scan`, and returns the first of each value, without those that
    /// have no value.
    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Reads the first entries of a range of the index of [keys](Row::keys), as many as `scan`, and returns the rows that
    /// have all of its keys, as many as `limit`. It may omit `stdout`, `stderr` and `udf_data`, and the pointer to their
    /// object.
    ///
    /// The entries are those of the first key. Rows whose timestamp differs from that of the entry are not returned.
    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError>;

    /// Returns whether a row has values in this [object](Row::object).
    async fn has_object(&self, object: &str) -> Result<bool, StoreError>;

    /// Returns 32 random bytes, made when the store was, and the same for everyone who opens it. Page tokens are signed
    /// with a key that is derived from them.
    async fn secret(&self) -> Result<[u8; 32], StoreError>;

    /// Returns whether a request that started in a window has not ended, as far as the store knows: an export waits for
    /// it. `false` by default, with which exports wait for no requests.
    async fn any_open(&self, _window: Window) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Reads the first entries of a range of the index of [keys](Row::keys), with what exports need of their rows. The row
    /// of an entry may no longer have that key.
    ///
    /// There may be fewer entries than `limit` though more follow, as when rows are large, but none only at the end of
    /// the range. By default this is [`find`](Self::find).
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

    /// Returns what keeps the jobs of exports, if the store does. `None` by default: then its log cannot be exported.
    fn jobs(&self) -> Option<&dyn Jobs> {
        None
    }
}

/// Rows that were found by their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hits {
    /// The rows, in the order of the range.
    pub rows: Vec<Row>,
    /// The place after which there may be more; `None` if there are none.
    pub behind: Option<Cursor>,
}

/// Which records: each is answered by an index of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selection {
    /// Those of a user, by e-mail address, in whatever environment.
    User(String),
    /// Those of an environment.
    Environment(String),
    /// Those of an operation's id, in an environment.
    UdfId {
        /// The environment.
        environment: String,
        /// The id.
        value: String,
    },
    /// Those of an operation's name, in an environment.
    UdfName {
        /// The environment.
        environment: String,
        /// The name.
        value: String,
    },
    /// Those of a shared token, in an environment.
    SharedToken {
        /// The environment.
        environment: String,
        /// The token.
        value: String,
    },
}
