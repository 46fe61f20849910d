//! Where the records of an audit log are kept: the trait [`Store`], and the stores that this crate has.
//!
//! A store has rows, and answers a few questions about them, each by an index. What a question means to a caller, who
//! may ask it, and the values that are kept elsewhere, are the concern of [`AuditLog`](crate::AuditLog).

mod exported;
mod job;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod job_statements;
mod jobs;
mod payloads;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::model::audit_record::AuditRecord;
use crate::model::distinct::Distinct;
use crate::model::scan::{Cursor, Scan};
use crate::model::window::Window;

pub use self::exported::ExportedRow;
pub use self::job::{Job, JobBody, JobUrl};
pub use self::jobs::{DamagedJob, FoundJob, JobLimit, JobList, Jobs};
pub use self::payloads::Payloads;
#[cfg(feature = "export")]
pub(crate) use self::payloads::scheme_of;
#[cfg(all(test, feature = "postgres"))]
pub(crate) use self::postgres::tests::schema as postgres_schema;
#[cfg(feature = "postgres")]
pub use self::postgres::{Partition, Postgres, PostgresSettings};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{Sqlite, SqliteSettings, Synchronous};

/// Keeps records. See [`Sqlite`] for one.
///
/// A store of one's own is an `impl` with the attribute `#[async_trait]` of the crate async-trait, for this crate's
/// feature `store`: `examples/own_store.rs` of this crate has one in memory, whole.
///
/// Whoever writes a store of its own has to keep these promises:
///
/// - A record whose future has returned from [`put`](Self::put) survives whatever the store survives.
/// - A row is seen whole or not at all, and once seen, it stays.
/// - Texts come back as they were put, with every character there is, NUL too; they are equal when their code points
///   are.
/// - The order of a page is that of (timestamp, id), where ids are compared by their bytes.
///
/// # Errors
///
/// Each method fails with [`StoreError::Overloaded`] where it may be asked again a little later: an API answers with 429
/// then, and an export asks again. Whatever else fails is [`StoreError::failed`], with the reason.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Puts rows. One that is there already is replaced where it has not [ended](Row::ended) and the new one has, or it
    /// has no execution time and the new one has; otherwise it stays as it is. So to put a row twice is harmless. The
    /// time of the first one stays, and so do its details where the new one has none. Keys of one that is put, or
    /// replaces another, are added to those of its id; none is taken away.
    ///
    /// Where it is [refused](StoreError::Refused) for one of the rows, none of them need be there; they are put again
    /// without that one.
    async fn put(&self, rows: Vec<Row>) -> Result<(), StoreError>;

    /// The row of an id.
    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError>;

    /// The first rows of a range, in one of its two directions.
    async fn page(&self, range: Scan<Selection>, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// The same, where what they printed may be left out of them: `stdout`, `stderr` and `udf_data`, and the pointer to
    /// their object.
    async fn short_page(&self, range: Scan<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.page(range, limit).await
    }

    /// Reads the first rows of a range, as many as `scan`, and returns the first of each value, without those that
    /// have no value.
    async fn first_of_each(&self, range: Scan<Selection>, of: Distinct, scan: usize) -> Result<Vec<Row>, StoreError>;

    /// Reads the first entries of a range of the index of [keys](Row::keys), as many as `scan`, and returns the rows that
    /// have all of its keys, as many as `limit`. What they printed may be left out of them: `stdout`, `stderr` and
    /// `udf_data`, and the pointer to their object.
    ///
    /// The entries are those of the first key. Rows whose timestamp is another than that of the entry are not returned.
    async fn find(&self, range: Scan<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError>;

    /// Whether a row has values in this [object](Row::object).
    async fn has_object(&self, object: &str) -> Result<bool, StoreError>;

    /// 32 random bytes, made when the store was, and the same for all who open it: page tokens are signed with a key
    /// that is derived of them.
    async fn secret(&self) -> Result<[u8; 32], StoreError>;

    /// Returns whether a request that started in a window has not ended, as far as the store knows: an export waits for
    /// it. `false` by default, with which exports wait for no requests.
    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        let _ = window;
        Ok(false)
    }

    /// Reads the first entries of a range of the index of [keys](Row::keys), with what exports need of their rows. The row
    /// of an entry may no longer have that key.
    ///
    /// There may be fewer entries than `limit` though more follow, as when rows are large, but none only at the end of
    /// the range. By default this is [`find`](Self::find).
    async fn exported(&self, range: Scan<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        let mut range = range.map(|key| vec![key]);
        loop {
            let Hits { rows, behind } = self.find(range.clone(), limit, limit).await?;
            match behind {
                Some(behind) if rows.is_empty() => range = range.behind(behind),
                _ => return Ok(rows.into_iter().map(ExportedRow::of).collect()),
            }
        }
    }

    /// Returns what keeps the jobs of exports, if the store does. `None` by default: then its log cannot be exported.
    fn jobs(&self) -> Option<&dyn Jobs> {
        None
    }
}

/// What a store keeps of one record.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// The record. Its values that are kept in an object are `None` here.
    pub record: AuditRecord,
    /// The name of the object that has values of this record, and which these are.
    pub object: Option<(String, Members)>,
    /// Whether the work that is recorded has ended, as far as anybody knows; else this is its begin.
    pub ended: bool,
    /// What is known of a request besides, as JSON; `None` for a record that is none of a request.
    pub details: Option<String>,
    /// The keys by which the row is found besides, at its timestamp: those that its begin has. They stay. A row that
    /// comes from a store has none.
    pub keys: Vec<Key>,
    /// The keys that its end adds.
    pub end_keys: Vec<Key>,
}

impl Row {
    /// The row of a record that is none of a request, which has no object, no details and no keys until they are set.
    ///
    /// ```
    /// use tagtrail_querylog::store::Row;
    /// use tagtrail_querylog::{AuditRecord, Timestamp};
    /// use uuid::Uuid;
    ///
    /// // What a store of one's own read from its columns.
    /// let mut row = Row::of(AuditRecord::new(Uuid::now_v7(), Timestamp::now()), false);
    /// row.details = Some("{}".into());
    /// ```
    pub fn of(record: AuditRecord, ended: bool) -> Self {
        Self { record, object: None, ended, details: None, keys: Vec::new(), end_keys: Vec::new() }
    }
}

/// What the index of requests is made of: a digest of what is asked for, such as "status 404 in env1".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of these parts, whose borders count.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a &'a str>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&digest.finalize()[..16]);
        Self(key)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Rows that were found by their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hits {
    /// The rows, in the order of the range.
    pub rows: Vec<Row>,
    /// The place behind which there may be more; `None` where there are none.
    pub behind: Option<Cursor>,
}

/// Which of the three long members of a record are kept in its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Whether what the operation printed is there.
    pub stdout: bool,
    /// Whether the errors that it printed are there.
    pub stderr: bool,
    /// Whether what it was given, or gave, is there.
    pub udf_data: bool,
}

impl Members {
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn bits(self) -> i64 {
        i64::from(self.stdout) | i64::from(self.stderr) << 1 | i64::from(self.udf_data) << 2
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn of_bits(bits: i64) -> Self {
        Self { stdout: bits & 1 != 0, stderr: bits & 2 != 0, udf_data: bits & 4 != 0 }
    }
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

/// The columns of a row, in the order in which they are written and read. Short ones come first.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const COLUMNS: &str = "id, timestamp, exec_env_id, user_id, user_email, udf_id, udf_name, execution_engine, \
                       execution_time, cache, shared_token, client_ip, object, object_members, ended, details, stdout, \
                       stderr, udf_data";

/// The same without what was printed, with this in its place.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn short_columns(null: &str) -> String {
    COLUMNS.replace("stdout, stderr, udf_data", &[null; 3].join(", "))
}

/// What becomes of a row that is put again: the new one takes its place, but for the id, the time, and details that it
/// does not have: an audit record of a request leaves it one.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const REPLACED: &str = "exec_env_id = excluded.exec_env_id, user_id = excluded.user_id, \
                        user_email = excluded.user_email, udf_id = excluded.udf_id, udf_name = excluded.udf_name, \
                        execution_engine = excluded.execution_engine, execution_time = excluded.execution_time, \
                        cache = excluded.cache, shared_token = excluded.shared_token, \
                        client_ip = excluded.client_ip, object = excluded.object, \
                        object_members = excluded.object_members, ended = excluded.ended, \
                        details = coalesce(excluded.details, record.details), stdout = excluded.stdout, stderr = excluded.stderr, \
                        udf_data = excluded.udf_data";

/// A limit as the stores take it.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn many(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The rows of a write without the begins of those that end in it: one write for both.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn without_begins<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> impl Iterator<Item = &'a Row> {
    let ended: std::collections::HashSet<_> =
        rows.clone().filter(|row| row.ended).map(|row| row.record.id.as_str()).collect();
    rows.filter(move |row| row.ended || !ended.contains(row.record.id.as_str()))
}

/// Why a store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// More is asked than it can do now. It may be asked again after a while.
    #[error("the store has too much to do: try again later")]
    Overloaded,
    /// It does not take one of these rows, however often it is asked; without that one it takes the others.
    #[error("the store refuses a row: {0}")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// It fails.
    #[error("the store fails: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot be opened, or used, as it was asked for: by its URL, path or settings.
    #[error("{0}")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// It refuses a row, for this reason.
    pub fn refused(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Refused(why.into())
    }

    /// It fails, for this reason.
    pub fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(why.into())
    }

    /// It cannot be opened, for this reason.
    pub fn unusable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unusable(why.into())
    }
}

#[cfg(all(test, any(feature = "postgres", feature = "sqlite")))]
mod tests {
    use super::*;

    #[test]
    fn members_of_an_object_are_a_bit_each() {
        for bits in 0..8 {
            let members = Members::of_bits(bits);
            assert_eq!(members.bits(), bits);
        }
        assert_eq!(Members { stdout: true, ..Members::default() }.bits(), 1);
        assert_eq!(Members { stderr: true, ..Members::default() }.bits(), 2);
        assert_eq!(Members { udf_data: true, ..Members::default() }.bits(), 4);
    }
}
