//! A log in an audit log: [`LogStore`].

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use uuid::Uuid;

use crate::audit::log::AuditLog;
use crate::audit::row::row_of;
use crate::model::gap::Gap;
use crate::model::record::Record;
use crate::queue::ack::State;
use crate::queue::batch::{Batch, Sink};
use crate::queue::destination::{Channel, OpenError, Opened, Start, check_queue_bytes};
use crate::queue::gate::{Gate, Limits};
use crate::queue::log::QueryLog;
use crate::queue::overload::Overload;
use crate::queue::pending::{AnyQueue, Queue};
use crate::queue::writer;
use crate::store::{Row, StoreError};

/// An audit log that a [`QueryLog`] writes to. A record is there when its request starts, without an end, and is
/// completed when it ends; if both fall into a batch, it is written once.
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
/// An acknowledged record is as safe as the store makes it. In [`QueryLog::stats`] the start and the end of a request
/// count one each. What is missing, since the queue was full or the store failed, is counted, and kept in the store as a
/// [`Gap`](crate::Gap): see [`AuditLog::gaps`].
#[derive(Clone, Debug)]
#[must_use]
pub struct LogStore {
    log: AuditLog,
    overload: Overload,
    queue: usize,
    gather: (usize, Duration),
    retry: Duration,
}

impl LogStore {
    /// Returns the audit log as a destination, with the default settings.
    pub fn new(log: AuditLog) -> Self {
        Self {
            log,
            overload: Overload::default(),
            queue: 64 << 20,
            gather: (256 << 10, Duration::from_millis(2)),
            retry: Duration::from_secs(10),
        }
    }

    /// Sets what happens to a request when the queue is full.
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

    /// Sets for how long the writer retries when the store fails, before it drops a batch; 10 seconds by default. A
    /// record that the store [rejects](StoreError::Rejected) is dropped at once, and no other with it.
    pub fn retry_for(self, retry: Duration) -> Self {
        Self { retry, ..self }
    }

    /// Opens a log that writes to this audit log alone: starts the thread that writes.
    ///
    /// # Errors
    ///
    /// If the queue has no room for a record, or no thread can be started.
    pub fn open(self) -> Result<QueryLog, OpenError> {
        QueryLog::builder().to(self).open()
    }

    fn start_thread(self) -> io::Result<Arc<Queue<Records>>> {
        check_queue_bytes(self.queue)?;
        let (batch, linger) = self.gather;
        let limits = Limits { queue: self.queue, batch: batch.min(self.queue / 2), linger };
        // With a thread of its own: connections that are made here serve others too, while nothing is written.
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("querylog-store").enable_all().build()?;
        let sink = StoreSink { log: self.log, runtime: Some(runtime) };
        writer::start(sink, None, Gate::new(limits, self.overload), self.retry)
    }
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

impl Channel for StoreChannel {
    fn begin(&self, record: &Record) -> Option<State> {
        Some(self.0.push(record.clone()))
    }

    fn append(&self, record: Cow<'_, Record>) -> State {
        self.0.push(record.into_owned())
    }

    fn queue(&self) -> &dyn AnyQueue {
        &*self.0
    }
}

/// How long the end of a log waits for what runs on its runtime.
const GRACE: Duration = Duration::from_secs(5);
/// How many rows are put at once: enough that a commit costs little, and few enough that other writers do not wait long.
const MAX_ROWS: usize = 8_192;

/// Records on their way to a store, and what became of each.
#[derive(Debug, Default)]
struct Records {
    waiting: Vec<Record>,
    bytes: usize,
    prepared: Option<Prepared>,
}

/// The rows of records. A request that started and ended in one batch has one row.
#[derive(Debug)]
struct Prepared {
    /// For each record, in order, the index of its row.
    row_numbers: Vec<usize>,
    /// The rows, until their long values are stored,
    making: Vec<Row>,
    /// and then.
    rows: Arc<[Row]>,
    /// Which rows are neither in the store nor rejected.
    todo: Vec<Range<usize>>,
    rejected: HashSet<usize>,
}

impl Batch for Records {
    type Item<'a> = Record;

    fn weigh(record: &Record) -> usize {
        record.weight()
    }

    fn push(&mut self, record: Record, _limit: usize) {
        self.bytes += record.weight();
        self.waiting.push(record);
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn len(&self) -> u64 {
        self.prepared.as_ref().map_or(self.waiting.len(), |prepared| prepared.row_numbers.len()) as u64
    }

    fn unwritten(&self) -> Vec<u64> {
        let Some(Prepared { row_numbers, todo, .. }) = &self.prepared else { return (0..self.len()).collect() };
        let is_unwritten = |row: &usize| todo.iter().any(|rows| rows.contains(row));
        (0..).zip(row_numbers).filter(|(_, row)| is_unwritten(row)).map(|(number, _)| number).collect()
    }

    fn rejected(&self) -> Vec<u64> {
        let Some(Prepared { row_numbers, rejected, .. }) = &self.prepared else { return Vec::new() };
        (0..).zip(row_numbers).filter(|(_, row)| rejected.contains(row)).map(|(number, _)| number).collect()
    }
}

impl Prepared {
    fn of(records: Vec<Record>) -> Self {
        let mut latest: Vec<Record> = Vec::with_capacity(records.len());
        let mut index_of = HashMap::with_capacity(records.len());
        let mut row_numbers = Vec::with_capacity(records.len());
        for record in records {
            let index = *index_of.entry(record.id).or_insert(latest.len());
            row_numbers.push(index);
            match latest.get_mut(index) {
                None => latest.push(record),
                Some(start) if !start.has_ended() && record.has_ended() => *start = record,
                Some(_) => {}
            }
        }
        // The first rows are put first.
        let starts = (0..latest.len()).step_by(MAX_ROWS);
        let todo = starts.map(|start| start..latest.len().min(start + MAX_ROWS)).rev().collect();
        let making = latest.into_iter().map(row_of).collect();
        Self { row_numbers, making, rows: [].into(), todo, rejected: HashSet::new() }
    }
}

struct StoreSink {
    log: AuditLog,
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
}

impl StoreSink {
    /// Puts rows that are ready. If the store rejects them, each half on its own, so that all are put but those that it
    /// rejects alone.
    fn put(&self, prepared: &mut Prepared) -> Result<(), StoreError> {
        let Some(runtime) = &self.runtime else { return Err(StoreError::Closed) };
        let Prepared { rows, todo, rejected, .. } = prepared;
        while let Some(range) = todo.pop() {
            let some = if range.len() == rows.len() { Arc::clone(rows) } else { rows[range.clone()].into() };
            match self.log.store().put_blocking(&some, None, runtime.handle()) {
                Ok(()) => {}
                Err(StoreError::Rejected(_)) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    todo.extend([middle..range.end, range.start..middle]);
                }
                Err(StoreError::Rejected(why)) => {
                    tracing::error!(error = %why, "audit log: the store rejected a record, which is dropped");
                    rejected.extend(range);
                }
                Err(error) => {
                    todo.push(range);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn try_write(&self, records: &mut Records) -> Result<(), StoreError> {
        let waiting = &mut records.waiting;
        let prepared = records.prepared.get_or_insert_with(|| Prepared::of(std::mem::take(waiting)));
        if !prepared.making.is_empty() {
            let Some(runtime) = &self.runtime else { return Err(StoreError::Closed) };
            runtime.block_on(self.log.backend().take_out(&mut prepared.making))?;
            prepared.rows = std::mem::take(&mut prepared.making).into();
        }
        self.put(prepared)
    }
}

impl Sink for StoreSink {
    type Batch = Records;

    fn write(&mut self, records: &mut Records) -> io::Result<()> {
        self.try_write(records).map_err(io::Error::other)
    }

    fn write_gap(&mut self, gap: &Gap) -> io::Result<()> {
        let runtime = self.runtime.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        runtime.block_on(self.log.store().put_gap(Uuid::now_v7(), gap)).map_err(io::Error::other)
    }
}

/// Connections that were made on the runtime end with it, before the log counts as closed: so they are not used again.
impl Drop for StoreSink {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if Handle::try_current().is_err() {
            runtime.shutdown_timeout(GRACE);
        } else {
            // In an async function a runtime cannot be waited for.
            runtime.shutdown_background();
        }
    }
}
