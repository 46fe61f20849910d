//! The log of a process: [`QueryLog`].

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::model::record::Record;
use crate::queue::ack::{Ack, AppendError, Done};
use crate::queue::overload::Overload;
use crate::queue::pending::Queue;

/// The query log of a process: records in, lines in files out. A clone is the same log.
///
/// A thread of its own writes. What is appended goes into a queue with a limit, and is written in batches; see
/// [`Durability`](crate::Durability) for what a crash can take, and [`Overload`] for what happens when the disk does not
/// keep up.
///
/// [Close](Self::close) it when the service has ended. Where the last clone is dropped without that, the drop closes it,
/// and waits for at most five seconds.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// use std::time::Duration;
/// use tagtrail::{Sample, Trail};
/// use tagtrail_querylog::{Outcome, QueryLog, Record};
///
/// let log = QueryLog::open(folder)?;
/// let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
/// record.end(Duration::from_secs(1), Outcome::Complete);
/// log.append(&record);
/// log.close(Duration::from_secs(5))?;
/// assert_eq!(log.counters().written, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct QueryLog {
    inner: Arc<Inner>,
    /// Another that has the same records.
    also: Option<Arc<QueryLog>>,
}

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    ended: Arc<Done>,
    overload: Overload,
    form: Box<dyn Encode>,
}

/// What a record is on its way to where it is written: a line.
pub(crate) trait Encode: fmt::Debug + Send + Sync {
    /// The line of a record, with its line feed.
    fn encode(&self, record: &Record, line: &mut Vec<u8>) -> io::Result<()>;

    /// Whether a record has a line when it begins too.
    fn has_begins(&self) -> bool {
        false
    }
}

const DRAIN: Duration = Duration::from_secs(5);

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer for lines that grew larger than this is given back.
const KEPT_CAPACITY: usize = 64 << 10;

impl QueryLog {
    pub(crate) fn of(queue: Arc<Queue>, ended: Arc<Done>, overload: Overload, form: Box<dyn Encode>) -> Self {
        Self { inner: Arc::new(Inner { queue, ended, overload, form }), also: None }
    }

    /// This log and another: what is recorded is in both, each by its own settings. The [counters](Self::counters) are
    /// those of this one, and a request waits for room in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let also = match self.also {
            Some(also) => Self::clone(&also).and(other),
            None => other,
        };
        Self { also: Some(Arc::new(also)), ..self }
    }

    /// Tells the log that a record begins, and returns at once. A log in a store has the record from now on, without its
    /// end, until it is [appended](Self::append); for files there is nothing to do.
    ///
    /// A [`QueryLogLayer`](crate::QueryLogLayer) does this for each request.
    pub fn begin(&self, record: &Record) -> Ack {
        let also = self.also.as_ref().map(|also| also.begin(record));
        let first = if self.inner.form.has_begins() { self.push(record) } else { Ack::nothing() };
        first.and(also)
    }

    /// Queues a record, and returns at once. The record is written whether or not somebody waits for the
    /// acknowledgement.
    pub fn append(&self, record: &Record) -> Ack {
        let also = self.also.as_ref().map(|also| also.append(record));
        self.push(record).and(also)
    }

    fn push(&self, record: &Record) -> Ack {
        let appended = LINE.try_with(|line| match line.try_borrow_mut() {
            Ok(mut line) => self.append_by(record, &mut line),
            Err(_) => self.append_by(record, &mut Vec::new()),
        });
        // Without the buffer, in a thread that is being torn down.
        Ack::of(appended.unwrap_or_else(|_| self.append_by(record, &mut Vec::new())))
    }

    fn append_by(&self, record: &Record, line: &mut Vec<u8>) -> Result<(Arc<Done>, u64), AppendError> {
        line.clear();
        let pushed = match self.inner.form.encode(record, line) {
            Ok(()) => self.inner.queue.push(line),
            Err(error) => Err(self.inner.queue.fail(error.kind())),
        };
        if line.capacity() > KEPT_CAPACITY {
            *line = Vec::new();
        }
        pushed
    }

    /// What became of the records until now.
    pub fn counters(&self) -> Counters {
        let tally = &self.inner.queue.tally;
        Counters {
            written: tally.written.load(Relaxed),
            queued: tally.queued.load(Relaxed),
            shed: tally.shed.load(Relaxed),
            failed: tally.failed.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            open: tally.open.load(Relaxed),
        }
    }

    /// Takes no more records, writes those that are queued, and returns when they are on the disk, or in the store.
    /// Requests that have not ended by now have no record in files, where a [`Gap`](crate::Gap) says how many, and one
    /// without an end in a store.
    ///
    /// Blocks the thread for at most this long; an async function calls [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    ///
    /// If not all is written in this time: how many records are not.
    pub fn close(&self, limit: Duration) -> Result<(), CloseError> {
        let deadline = Instant::now() + limit;
        let first = self.inner.close(limit);
        let also =
            self.also.as_ref().map_or(Ok(()), |also| also.close(deadline.saturating_duration_since(Instant::now())));
        match (first, also) {
            (Err(first), Err(also)) => Err(CloseError { records: first.records + also.records }),
            (first, also) => first.and(also),
        }
    }

    /// As [`close`](Self::close), from an async function, on a thread of tokio for what blocks.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub async fn shutdown(&self, limit: Duration) -> Result<(), CloseError> {
        let log = self.clone();
        let closing = tokio::task::spawn_blocking(move || log.close(limit)).await;
        // The runtime is gone, or is being torn down.
        closing.unwrap_or_else(|_| self.close(Duration::ZERO))
    }

    /// Whether a request that begins now is to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.inner.queue.is_full() || self.also.as_ref().is_some_and(|also| also.is_full())
    }

    /// Waits until it is not full.
    pub(crate) async fn room(&self) {
        let mut log = Some(self);
        while let Some(Self { inner, also }) = log {
            inner.queue.room().await;
            log = also.as_deref();
        }
    }

    /// Counts a request that was answered with 503 since the queue is full.
    pub(crate) fn refuse(&self) {
        self.each(Queue::refuse);
    }

    /// A request has begun.
    pub(crate) fn opened(&self) {
        self.each(|queue| {
            queue.tally.open.fetch_add(1, Relaxed);
        });
    }

    /// A request has ended.
    pub(crate) fn ended(&self) {
        self.each(|queue| {
            queue.tally.open.fetch_sub(1, Relaxed);
        });
    }

    fn each(&self, visit: impl Fn(&Queue)) {
        let mut log = Some(self);
        while let Some(Self { inner, also }) = log {
            visit(&inner.queue);
            log = also.as_deref();
        }
    }

    #[cfg(test)]
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.inner.queue
    }

    pub(crate) fn overload(&self) -> Overload {
        self.inner.overload
    }
}

impl Inner {
    fn close(&self, limit: Duration) -> Result<(), CloseError> {
        let tally = &self.queue.tally;
        let failed_before = tally.failed.load(Relaxed);
        let deadline = Instant::now() + limit;
        self.queue.close(deadline);
        // A moment longer, for what the writer does after its deadline.
        let ended = self.ended.wait_until(Some(deadline + Duration::from_millis(50)));
        let records = tally.queued.load(Relaxed) + tally.failed.load(Relaxed) - failed_before;
        if ended.is_some() && records == 0 { Ok(()) } else { Err(CloseError { records }) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close(DRAIN) {
            tracing::error!(%error, "query log: dropped before all was written");
        }
    }
}

/// What became of the records of a log, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Records that are in the files, or in the store, where begins and ends count each for itself.
    pub written: u64,
    /// Records that are queued, and those of the batch that is being written.
    pub queued: u64,
    /// Records that were not taken: the queue was full, the record was too large, or the log was closed.
    pub shed: u64,
    /// Records that were taken, and given up since the file, or the store, could not be written.
    pub failed: u64,
    /// Requests that were answered with 503 since the queue was full.
    pub refused: u64,
    /// Requests that run now.
    pub open: u64,
}

/// A log was closed, and not all of it is in the files, or in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query log did not end in time: {records} records are not written")]
#[non_exhaustive]
pub struct CloseError {
    /// How many records were queued, and are not written.
    pub records: u64,
}
