//! A log in an audit log: [`LogStore`].
//!
//! While all is well, the writer thread puts batches into the store ([`StoreSink`]). With a spool, [`SpooledSink`] wraps
//! that: if the store fails, the writer appends batches to the spool, and another thread, [`replay`], writes them to the
//! store, in order, until the spool is empty.

mod entry;
mod records;
mod replay;
mod set_aside;
mod shared;
mod sink;
mod spooled;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use uuid::Uuid;

use crate::audit::log::AuditLog;
use crate::audit::log_store::records::Records;
use crate::audit::log_store::sink::StoreSink;
use crate::audit::log_store::spooled::SpooledSink;
use crate::model::record::Record;
use crate::model::time::Timestamp;
use crate::queue::ack::State;
use crate::queue::destination::{Channel, OpenError, Opened, Start, check_queue_bytes};
use crate::queue::gate::{Gate, Limits};
use crate::queue::log::QueryLog;
use crate::queue::overload::Overload;
use crate::queue::pending::{AnyQueue, Queue};
use crate::queue::spool::folder::{Found, SpoolFolder};
use crate::queue::spool::{Acknowledge, Spool};
use crate::queue::writer;
use crate::store::WriterReport;

/// An audit log that a [`QueryLog`] writes to. A record is there when its request starts, without an end, and is
/// completed when the request ends. If both happen within one batch, it is written once.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use axum::{Router, routing::get};
/// use tagtrail::Admit;
/// use tagtrail_querylog::{AuditLog, LogStore, QueryLogLayer};
///
/// let log = LogStore::new(AuditLog::open(path)?).open()?;
/// let layers = QueryLogLayer::new(log.clone()).with_inbound(Admit::Restart);
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layers);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// The caller of a record is set by [`QueryLogLayer::caller`](crate::QueryLogLayer::caller), or in the handler by
/// [`RecordHandle::update`](crate::RecordHandle::update). A record without an environment is not found by questions
/// about an environment, about requests or about a trace.
///
/// While the store is away, records wait in the queue for as long as it takes; with a [`spool`](Self::spool), they are
/// written to files, and from there to the store when it is back. What is missing all the same, because the queue was
/// full or the log was closed too soon, is counted, and kept in the store as a [`Gap`](crate::Gap): see
/// [`AuditLog::gaps`].
/// An acknowledged record is as safe as the store makes it, or as the [`Spool`] is.
#[derive(Clone, Debug)]
#[must_use]
pub struct LogStore {
    log: AuditLog,
    overload: Overload,
    queue: usize,
    gather: (usize, Duration),
    spool: Option<Spool>,
    acknowledge: Acknowledge,
    rejected: Option<PathBuf>,
}

impl LogStore {
    /// Returns the audit log as a destination, with the default settings.
    pub fn new(log: AuditLog) -> Self {
        Self {
            log,
            overload: Overload::default(),
            queue: 64 << 20,
            gather: (256 << 10, Duration::from_millis(2)),
            spool: None,
            acknowledge: Acknowledge::default(),
            rejected: None,
        }
    }

    /// Sets what happens to a request when the queue is full: by default it is handled after 100 milliseconds at most.
    pub fn overload(self, overload: Overload) -> Self {
        Self { overload, ..self }
    }

    /// Sets how many bytes of records wait for the store at most: 64 MiB (2^26) by default, and at least 4 KiB (2^12). A
    /// single record cannot be larger.
    pub fn queue_bytes(self, bytes: usize) -> Self {
        Self { queue: bytes, ..self }
    }

    /// Sets when a batch is written: when it has this many bytes, or its first record is this old. By default 256 KiB
    /// or 2 milliseconds. While the store is busy, the next batch grows beyond this.
    pub fn gather(self, bytes: usize, time: Duration) -> Self {
        Self { gather: (bytes, time), ..self }
    }

    /// Writes records to files in a folder while the store is away, and from there to the store, in order, when it is
    /// back, also after a restart. So an outage costs no memory, and what waits survives the end of the process. By
    /// default there is no spool. Use one with any store that is not on this machine, such as PostgreSQL.
    ///
    /// If the store is away when the log is closed, it is tried again for three seconds. What is left then is in the files,
    /// for the next process.
    pub fn spool(self, spool: Spool) -> Self {
        Self { spool: Some(spool), ..self }
    }

    /// Sets when a record is acknowledged if there is a [`spool`](Self::spool): by default, when it is in the store or in
    /// the spool.
    pub fn acknowledge(self, acknowledge: Acknowledge) -> Self {
        Self { acknowledge, ..self }
    }

    /// Sets the file for records that the store [rejects](crate::store::StoreError::Rejected). Each is appended as
    /// `{"rejected":"the reason","record":{…}}`. By default, this is `rejected.jsonl` in the folder of the
    /// [`spool`](Self::spool), or else, for SQLite, the name of the database with `.rejected.jsonl` appended. Without any
    /// of these, such records are dropped, which is logged. Either way, a [`Gap`](crate::Gap) counts them.
    pub fn rejected_file(self, path: impl AsRef<Path>) -> Self {
        Self { rejected: Some(path.as_ref().to_owned()), ..self }
    }

    /// Opens a log that writes to this audit log alone: starts the thread that writes.
    ///
    /// # Errors
    ///
    /// If the queue has no room for a record; if the folder of the spool cannot be created or written, or another log has
    /// it open; or if a thread cannot be started. It is not an error if the store is away.
    pub fn open(self) -> Result<QueryLog, OpenError> {
        QueryLog::builder().to(self).open()
    }

    fn start_thread(self) -> io::Result<Arc<Queue<Records>>> {
        check_queue_bytes(self.queue, self.overload)?;
        let (batch, linger) = self.gather;
        let limits = Limits { queue: self.queue, batch: batch.min(self.queue / 2), linger };
        let gate = Gate::new(limits, self.overload);
        let spool = self.spool.as_ref().map(SpoolFolder::open).transpose()?;
        let (folder, found) = spool.unzip();
        let in_spool = || folder.as_ref().map(|folder: &SpoolFolder| folder.file("rejected.jsonl"));
        let rejected = self.rejected.or_else(in_spool).or_else(|| self.log.store().rejected_file());
        // For stores that have no runtime of their own, and object stores. With a thread, since what they start goes on
        // while nothing is written.
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("querylog-store").enable_all().build()?;
        let tally = Arc::clone(&gate.tally);
        let unclean = found.as_ref().map_or(&[][..], |found| &found.unclean);
        let sink = StoreSink::new(self.log, runtime, Arc::clone(&tally), report(found.as_ref()), unclean, rejected);
        match (folder, found, self.spool) {
            (Some(folder), Some(found), Some(spool)) => {
                let sink = SpooledSink::start(sink, folder, found.requests, spool.after, self.acknowledge, tally)?;
                writer::start(sink, None, gate)
            }
            _ => writer::start(sink, None, gate),
        }
    }
}

/// The first report of the writer. If those that had the spool before did not close their logs, there is a gap.
fn report(found: Option<&Found>) -> WriterReport {
    let id = found.map_or_else(Uuid::new_v4, |found| found.writer);
    let mut report = WriterReport::new(id, Timestamp::now());
    let unclean = found.and_then(|found| found.unclean.first());
    report.kept_through = unclean.map_or(report.started, |unclean| unclean.from);
    // What is in the spool is not in the store.
    let spooled_since = found.and_then(|found| found.since).unwrap_or(Timestamp::MAX);
    report.written_through = report.kept_through.min(spooled_since);
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    report.instance = Some(format!("{host}:{}", std::process::id()));
    report
}

impl Start for LogStore {
    fn start(self) -> Result<Opened, OpenError> {
        let queue = self.start_thread().map_err(|error| OpenError::new("in a store", error))?;
        Ok(Opened(Box::new(StoreChannel(queue))))
    }
}

/// With the default settings of a [`LogStore`].
impl Start for AuditLog {
    fn start(self) -> Result<Opened, OpenError> {
        LogStore::new(self).start()
    }
}

#[derive(Debug)]
struct StoreChannel(Arc<Queue<Records>>);

/// How many bytes are reserved for what a service adds to a record, without output.
const ADDED: usize = 8 << 10;

impl Channel for StoreChannel {
    fn begin(&self, record: &Record) -> Option<State> {
        Some(self.0.push(record.clone(), 0))
    }

    fn append(&self, record: Cow<'_, Record>, mut reserved: usize) -> State {
        let mut record = record.into_owned();
        let weight = record.weight();
        if reserved > 0 && weight > reserved {
            if self.0.enlarge(reserved, weight) { reserved = weight } else { record.shrink(reserved) }
        }
        self.0.push(record, reserved)
    }

    fn reservation(&self, start: usize) -> usize {
        start + ADDED
    }

    fn queue(&self) -> &dyn AnyQueue {
        &*self.0
    }
}
