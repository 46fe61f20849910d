//! What is queued and written together, and where it goes: [`Batch`], [`Sink`].

use std::fmt;
use std::io;
use std::time::Duration;

use crate::model::gap::Gap;
use crate::model::time::Timestamp;

/// The records that a destination writes at once, in the form in which it takes them: lines of text for files, records
/// for a store.
pub(crate) trait Batch: Default + fmt::Debug + Send + 'static {
    /// One of them, as it is queued.
    type Item<'a>;

    /// How many bytes of memory an item takes.
    fn weigh(item: &Self::Item<'_>) -> usize;

    /// Adds an item. All of them together never weigh more than `limit`.
    fn push(&mut self, item: Self::Item<'_>, limit: usize);

    /// How many bytes of memory the items take.
    fn bytes(&self) -> usize;

    /// How many items there are.
    fn len(&self) -> u64;

    /// The numbers of those that are neither written nor rejected yet, in order. The first item has the number 0.
    fn unwritten(&self) -> Vec<u64>;

    /// The numbers of those that the destination rejects for good, in order.
    fn rejected(&self) -> Vec<u64> {
        Vec::new()
    }

    /// An empty batch, which takes over memory that is worth keeping.
    fn recycled(self) -> Self {
        Self::default()
    }
}

/// Where batches are written.
pub(crate) trait Sink: Send + 'static {
    /// What it writes at once.
    type Batch: Batch;

    /// Writes what is unwritten of a batch, and marks each item that is written or rejected. What costs work, or leaves
    /// something behind, is done once, however often this is called for a batch.
    fn write(&mut self, batch: &mut Self::Batch) -> io::Result<()>;

    /// Writes that records are missing.
    fn write_gap(&mut self, gap: &Gap) -> io::Result<()>;

    /// How long it is until there is something to do without a batch.
    fn until_tick(&self, _now: Timestamp) -> Option<Duration> {
        None
    }

    /// Does it.
    fn tick(&mut self, _now: Timestamp) {}

    /// Ends. `has_all` if no record is missing that is not reported.
    fn close(&mut self, _has_all: bool) -> io::Result<()> {
        Ok(())
    }
}
