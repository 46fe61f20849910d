//! Files for records that a store cannot take at the moment: [`Spool`].
//!
//! A spool is a folder of segments, which are written and read in the order of their numbers. `segment` is their format,
//! `mark` says which process has the folder and which ones did not close it, and `folder` writes and reads.

pub(crate) mod folder;
pub(crate) mod mark;
pub(crate) mod segment;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::queue::durability::Durability;

/// A folder for records that a store cannot take at the moment, because it is away or slow. See
/// [`LogStore::spool`](crate::LogStore::spool).
///
/// Records are written to files there, in order, and from there to the store when it is back, also by a later process
/// that opens the same folder. While all is well, no record is written to the folder.
///
/// A folder belongs to one log at a time. Its files have the mode 0640, since records are about people.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tagtrail_querylog::store::Postgres;
/// use tagtrail_querylog::{AuditLog, LogStore, Spool};
///
/// let store = Postgres::builder("postgres://audit@db.internal/audit?sslmode=verify-full").connect_lazy()?;
/// let spool = Spool::new("/var/lib/shop/spool").max_bytes(10_000_000_000);
/// let log = LogStore::new(AuditLog::new(store)).spool(spool).open()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Spool {
    pub(crate) folder: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) after: Duration,
    pub(crate) durability: Durability,
}

impl Spool {
    /// Returns the folder with the default settings. It is created if it does not exist.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_owned(),
            max_bytes: 1 << 30,
            after: Duration::from_secs(2),
            durability: Durability::Synced,
        }
    }

    /// Sets how many bytes the files may have together: 1 GiB (2^30) by default, which is about a million requests. If
    /// that is not enough, records wait in the queue, until [`Overload`](crate::Overload) applies.
    pub fn max_bytes(self, bytes: u64) -> Self {
        Self { max_bytes: bytes, ..self }
    }

    /// Sets how long the store may take for a batch before the batch is written to the spool instead: 2 seconds by
    /// default. If the store fails, the batch is written to the spool at once.
    pub fn after(self, limit: Duration) -> Self {
        Self { after: limit, ..self }
    }

    /// Sets how safe a record in the spool is when it is acknowledged: [`Synced`](Durability::Synced) by default, so it
    /// survives a power cut. [`Buffered`](Durability::Buffered) is the same as [`Flushed`](Durability::Flushed) here.
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }
}

/// When a record of a log with a [`Spool`] is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Acknowledge {
    /// When it is in the store or in the spool.
    #[default]
    Kept,
    /// When it is in the store.
    Stored,
}
