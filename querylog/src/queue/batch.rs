//! What is queued and written together, and where it goes: [`Batch`], [`Sink`].

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::ack::Done;

/// The records that a destination writes at once, in the form in which it takes them: lines of text for files, records
/// for a store.
pub(crate) trait Batch: Default + fmt::Debug + Send + 'static {
    /// One of them, as it is queued.
    type Item<'a>;

    /// How many bytes of memory an item takes.
    fn weigh(item: &Self::Item<'_>) -> usize;

    /// Whether an item is counted. The start of a request is not, since its end follows.
    fn is_counted(_item: &Self::Item<'_>) -> bool {
        true
    }

    /// Adds an item. All of them together never weigh more than `limit`.
    fn push(&mut self, item: Self::Item<'_>, limit: usize);

    /// How many bytes of memory the items take.
    fn bytes(&self) -> usize;

    /// How many items there are.
    fn len(&self) -> u64;

    /// How many of them are counted.
    fn requests(&self) -> u64 {
        self.len()
    }

    /// What became of them until now.
    fn progress(&self) -> Progress;

    /// An empty batch, which takes over memory that is worth keeping.
    fn recycled(self) -> Self {
        Self::default()
    }
}

/// What became of the items of a batch; those that are not named here are written.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Neither written nor rejected, so far.
    pub(crate) unwritten: Items,
    /// Rejected for good.
    pub(crate) rejected: Items,
    /// How many requests are in the spool, from which they are written later.
    pub(crate) spooled: u64,
    /// Whether the spool has the acknowledgement of the batch, and gives it when all is in the store.
    pub(crate) is_acknowledged_later: bool,
}

/// Some items of a batch.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// Their numbers, in order. The first item of a batch has the number 0.
    pub(crate) numbers: Vec<u64>,
    /// How many of them are counted.
    pub(crate) requests: u64,
}

/// Where batches are written.
pub(crate) trait Sink: Send + 'static {
    /// What it writes at once.
    type Batch: Batch;

    /// Writes what is unwritten of a batch, and marks each item that is written or rejected. What costs work, or leaves
    /// something behind, is done once, however often this is called for a batch.
    fn write(&mut self, batch: &mut Self::Batch, taken: &Moment) -> io::Result<()>;

    /// Writes that records are missing. A gap that is written again replaces the earlier one of the same id.
    fn write_gap(&mut self, id: Uuid, gap: &Gap) -> io::Result<()>;

    /// How long it is until there is something to do without a batch.
    fn until_tick(&self, _now: Timestamp) -> Option<Duration> {
        None
    }

    /// Does it.
    fn tick(&mut self, _now: Timestamp) {}

    /// Ends, by the deadline if there is one. `has_all` if no record is missing that is not reported.
    fn close(&mut self, _has_all: bool, _deadline: Option<Instant>) -> io::Result<()> {
        Ok(())
    }
}

/// When a batch was taken from the queue.
#[derive(Debug)]
#[cfg_attr(not(feature = "store"), expect(dead_code, reason = "files do not need it"))]
pub(crate) struct Moment {
    /// What was appended before is in this batch or in an earlier one.
    pub(crate) time: Timestamp,
    /// The acknowledgement of the batch.
    pub(crate) done: Arc<Done>,
}
