//! The state of a queue that is read without its lock: [`Gate`], [`Tally`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

use crate::queue::overload::Overload;

/// How much is queued, and how it is gathered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of records, at most.
    pub(crate) queue: usize,
    /// A batch is written when it has this many bytes,
    pub(crate) batch: usize,
    /// or its first record is this old.
    pub(crate) linger: Duration,
}

#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) limits: Limits,
    pub(crate) overload: Overload,
    /// Bytes that are queued, being written, or reserved. Written under the queue's lock.
    pub(crate) filled: AtomicUsize,
    /// Whether the writer is gone, so that nothing is written any more.
    pub(crate) ended: AtomicBool,
    /// Notified when there may be room.
    pub(crate) freed: Notify,
    pub(crate) tally: Arc<Tally>,
}

/// The counters of requests, by what became of their records.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) written: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) spooled: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) is_unusable: AtomicBool,
    /// Requests that a writer which panicked had in hand. They are among those that failed.
    pub(crate) orphaned: AtomicU64,
}

impl Gate {
    pub(crate) fn new(limits: Limits, overload: Overload) -> Self {
        Self {
            limits,
            overload,
            filled: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            freed: Notify::new(),
            tally: Arc::default(),
        }
    }

    /// Returns whether a request that starts now must wait. The last quarter of the queue is reserved for running
    /// requests, so that these find room when they end.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.filled.load(Relaxed) > self.limits.queue / 4 * 3 || self.ended.load(Relaxed)
    }

    /// Waits until the queue is not full, or will never have room again.
    pub(crate) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if !self.is_full() || self.ended.load(Relaxed) {
                return;
            }
            freed.await;
        }
    }
}

/// The statistics of a log, or of one of its destinations, since it was opened. They count requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Requests whose records are in the files or the store.
    pub written: u64,
    /// Requests that have ended, and whose records wait in memory, including those of the batch that is being written.
    pub queued: u64,
    /// Requests whose records are in the [spool](crate::Spool), but not in the store yet.
    pub spooled: u64,
    /// Requests whose records were not queued, because the queue was full, the record was too large, or the log was
    /// closed.
    pub shed: u64,
    /// Requests whose records were queued and then dropped, because the store rejected them, or because the files or the
    /// store could not be written before the log was closed.
    pub failed: u64,
    /// Requests that were rejected with 503 because the queue was full.
    pub rejected: u64,
    /// Requests that are running.
    pub open: u64,
    /// Whether this version of the crate cannot use the destination, for example because the tables of a store are of a
    /// later version. Nothing gets there until the service is updated, so raise an alarm.
    pub is_unusable: bool,
}

impl Tally {
    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            written: self.written.load(Relaxed),
            queued: self.queued.load(Relaxed),
            spooled: self.spooled.load(Relaxed),
            shed: self.shed.load(Relaxed),
            failed: self.failed.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            open: self.open.load(Relaxed),
            is_unusable: self.is_unusable.load(Relaxed),
        }
    }
}
