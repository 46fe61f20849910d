//! The only place that opens the log and its store.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tagtrail_querylog::store::{Payloads, Postgres, Sqlite};
use tagtrail_querylog::{AuditLog, LogStore, QueryLog, Spool};

/// When a batch is written.
const GATHER: Duration = Duration::from_millis(20);
/// How long a batch waits for the store before it goes to the spool.
const AFTER: Duration = Duration::from_millis(100);
/// The space of the spool of all services but the first, which fills up if the store is away for long.
const SMALL_SPOOL: u64 = 1 << 20;

/// How long a commit or a sync may take on a busy machine.
const SYNC: Duration = Duration::from_millis(30);

/// How much earlier than a kill the gap after it may start: twice the time that a record waits until it is kept.
pub(crate) const REACH: Duration = GATHER.saturating_add(SYNC).saturating_mul(2);
/// The same while the store is away.
pub(crate) const REACH_WHILE_AWAY: Duration = GATHER.saturating_add(AFTER).saturating_add(SYNC).saturating_mul(2);

/// Whether the records of a service wait in memory if the store is away for long.
pub(crate) fn has_small_spool(service: usize) -> bool {
    service > 0
}

/// The environment of all records.
pub(crate) const ENVIRONMENT: &str = "chaos";

/// Opens a store: `postgres://…`, or the path of a file of SQLite. Long values are in a folder. PostgreSQL
/// may be away.
pub(crate) fn store(location: &str, folder: &Path) -> Result<AuditLog, Box<dyn Error>> {
    let log = if location.starts_with("postgres://") {
        AuditLog::new(Postgres::builder(location).connect_lazy()?)
    } else {
        AuditLog::new(Sqlite::open(location)?)
    };
    Ok(log.payloads(Payloads::folder(folder.join("objects"))?))
}

/// Opens the log of a service, which has a folder of its own.
pub(crate) fn log(store: AuditLog, service: usize, own: &Path) -> Result<QueryLog, Box<dyn Error>> {
    let spool = Spool::new(own.join("spool")).after(AFTER);
    let spool = if has_small_spool(service) { spool.max_bytes(SMALL_SPOOL) } else { spool };
    Ok(LogStore::new(store).gather(256 << 10, GATHER).spool(spool).open()?)
}
