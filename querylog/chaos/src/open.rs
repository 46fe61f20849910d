//! The only place that opens the log and its store.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tagtrail_querylog::store::{Payloads, Postgres, Sqlite};
use tagtrail_querylog::{AuditLog, LogStore, QueryLog};

/// When a batch is written.
pub(crate) const GATHER: Duration = Duration::from_millis(2);

/// How much earlier than a kill the gap after it may start.
pub(crate) const REACH: Duration = Duration::from_millis(2 * GATHER.as_millis() as u64);

/// Whether records wait on disk while the store is away. If not, a process that is killed takes them with it, however
/// old they are.
pub(crate) const HAS_SPOOL: bool = false;

/// The environment of all records.
pub(crate) const ENVIRONMENT: &str = "chaos";

/// Opens a store: `postgres://…`, or the path of a file of SQLite. Long values are in a folder.
pub(crate) async fn store(location: &str, folder: &Path) -> Result<AuditLog, Box<dyn Error>> {
    let log = if location.starts_with("postgres://") {
        AuditLog::new(Postgres::connect(location).await?)
    } else {
        AuditLog::new(Sqlite::open(location)?)
    };
    Ok(log.payloads(Payloads::folder(folder.join("objects"))?))
}

/// Opens the log of a service, which may keep files of its own in a folder.
pub(crate) fn log(store: AuditLog, _own: &Path) -> Result<QueryLog, Box<dyn Error>> {
    Ok(LogStore::new(store).gather(256 << 10, GATHER).open()?)
}
