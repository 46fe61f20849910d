//! The log of a process: [`QueryLog`].

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::ack::{Ack, Done, NotWritten};
use crate::disk::Disk;
use crate::folder::Found;
use crate::queue::Queue;
use crate::record::Record;
use crate::settings::{Form, OpenError, Overload, Settings};
use crate::writer::{self, Start};
use crate::{exported, line};

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
/// use tagtrail::Trail;
/// use tagtrail_querylog::{Outcome, QueryLog, Record};
///
/// let log = QueryLog::open(folder)?;
/// let mut record = Record::new(&Trail::start(true), "nightly/rollup");
/// record.end(Duration::from_secs(1), Outcome::Complete);
/// log.append(&record);
/// log.close(Duration::from_secs(5))?;
/// assert_eq!(log.counters().written, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct QueryLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    ended: Arc<Done>,
    overload: Overload,
    form: Form,
}

const DRAIN: Duration = Duration::from_secs(5);

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer for lines that grew larger than this is given back.
const KEPT_CAPACITY: usize = 64 << 10;

impl QueryLog {
    /// Opens a log in a folder, with the settings as they are by default.
    ///
    /// # Errors
    ///
    /// As [`Settings::open`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::settings(folder).open()
    }

    /// The settings of a log in a folder, to be changed and opened.
    pub fn settings(folder: impl AsRef<Path>) -> Settings {
        Settings::new(folder.as_ref())
    }

    pub(crate) fn start(
        disk: Box<dyn Disk>,
        found: Found,
        start: Start,
        overload: Overload,
        form: Form,
    ) -> io::Result<Self> {
        let (queue, ended) = writer::start(disk, found, start)?;
        Ok(Self(Arc::new(Inner { queue, ended, overload, form })))
    }

    /// Queues a record, and returns at once. The record is written whether or not somebody waits for the
    /// acknowledgement.
    pub fn append(&self, record: &Record) -> Ack {
        let appended = LINE.try_with(|line| match line.try_borrow_mut() {
            Ok(mut line) => self.append_by(record, &mut line),
            Err(_) => self.append_by(record, &mut Vec::new()),
        });
        // Without the buffer, in a thread that is being torn down.
        Ack::of(appended.unwrap_or_else(|_| self.append_by(record, &mut Vec::new())))
    }

    fn append_by(&self, record: &Record, line: &mut Vec<u8>) -> Result<Arc<Done>, NotWritten> {
        line.clear();
        let encoded = match &self.0.form {
            Form::Full => line::write_record(record, false, line),
            Form::WithOutput => line::write_record(record, true, line),
            Form::Exported { api_version } => exported::write_record(record, api_version, line),
        };
        let pushed = match encoded {
            Ok(()) => self.0.queue.push(line),
            Err(error) => Err(self.0.queue.fail(error.kind())),
        };
        if line.capacity() > KEPT_CAPACITY {
            *line = Vec::new();
        }
        pushed
    }

    /// What became of the records until now.
    pub fn counters(&self) -> Counters {
        let tally = &self.0.queue.tally;
        Counters {
            written: tally.written.load(Relaxed),
            queued: tally.queued.load(Relaxed),
            shed: tally.shed.load(Relaxed),
            failed: tally.failed.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            open: tally.open.load(Relaxed),
        }
    }

    /// Takes no more records, writes those that are queued, and returns when they are on the disk. Requests that have
    /// not ended by now have no record; a [`Gap`](crate::Gap) says how many.
    ///
    /// Blocks the thread for at most this long; an async function calls [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    ///
    /// If not all is written in this time: how many records are not.
    pub fn close(&self, limit: Duration) -> Result<(), Unwritten> {
        self.0.close(limit)
    }

    /// As [`close`](Self::close), from an async function, on a thread of tokio for what blocks.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub async fn shutdown(&self, limit: Duration) -> Result<(), Unwritten> {
        let inner = Arc::clone(&self.0);
        let closing = tokio::task::spawn_blocking(move || inner.close(limit)).await;
        // The runtime is gone, or is being torn down.
        closing.unwrap_or_else(|_| self.0.close(Duration::ZERO))
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.0.queue
    }

    pub(crate) fn overload(&self) -> Overload {
        self.0.overload
    }
}

impl Inner {
    fn close(&self, limit: Duration) -> Result<(), Unwritten> {
        let tally = &self.queue.tally;
        let failed_before = tally.failed.load(Relaxed);
        let deadline = Instant::now() + limit;
        self.queue.close(deadline);
        // A moment longer, for what the writer does after its deadline.
        let ended = self.ended.wait_until(Some(deadline + Duration::from_millis(50)));
        let records = tally.queued.load(Relaxed) + tally.failed.load(Relaxed) - failed_before;
        if ended.is_some() && records == 0 { Ok(()) } else { Err(Unwritten { records }) }
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
    /// In the files.
    pub written: u64,
    /// On their way.
    pub queued: u64,
    /// Not taken: the queue was full, the record was too large, or the log was closed.
    pub shed: u64,
    /// Taken, and given up since the file could not be written.
    pub failed: u64,
    /// Requests that were answered with 503 since the queue was full.
    pub refused: u64,
    /// Requests that run now.
    pub open: u64,
}

/// A log was closed, and not all of it is in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query log did not end in time: {records} records are not written")]
#[non_exhaustive]
pub struct Unwritten {
    /// So many records that were queued.
    pub records: u64,
}
