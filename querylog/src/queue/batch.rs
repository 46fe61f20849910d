//! What is queued and written together: [`Batch`], [`Sink`].

use std::fmt;
use std::io;
use std::time::Duration;

use crate::model::gap::Gap;
use crate::model::time::Timestamp;

/// The records that a destination writes at once, in its form: lines of text for files, records for a store.
pub(crate) trait Batch: Default + fmt::Debug + Send + 'static {
    /// A record in the form in which it is queued.
    type Item<'a>;

    /// Returns the number of bytes of memory that an item takes.
    fn weigh(item: &Self::Item<'_>) -> usize;

    /// Adds an item. Together, the items never weigh more than `limit`.
    fn push(&mut self, item: Self::Item<'_>, limit: usize);

    /// Returns the number of bytes of memory that the items take.
    fn bytes(&self) -> usize;

    /// Returns the number of items.
    fn len(&self) -> u64;

    /// Returns the number of items that are neither written nor rejected yet.
    fn unwritten(&self) -> u64;

    /// Returns the numbers of the items that the destination has rejected, in order. The first item has the number 0.
    fn rejected(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Returns an empty batch, which reuses memory that is worth keeping.
    fn recycled(self) -> Self {
        Self::default()
    }
}

/// Where batches are written.
pub(crate) trait Sink: Send + 'static {
    /// The batch that it writes.
    type Batch: Batch;

    /// Writes the unwritten items of a batch, and marks each that is written or rejected. Work that is expensive or has
    /// side effects is done once, however often this is called for a batch.
    fn write(&mut self, batch: &mut Self::Batch) -> io::Result<()>;

    /// Writes a gap.
    fn write_gap(&mut self, gap: &Gap) -> io::Result<()>;

    /// Returns the time until [`tick`](Self::tick) must be called.
    fn until_tick(&self, _now: Timestamp) -> Option<Duration> {
        None
    }

    /// Does work that does not depend on a batch.
    fn tick(&mut self, _now: Timestamp) {}

    /// Closes the sink. `has_all` says that every missing record is reported.
    fn close(&mut self, _has_all: bool) -> io::Result<()> {
        Ok(())
    }
}
