//! The log of a process: [`QueryLog`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::model::record::Record;
use crate::queue::ack::Ack;
use crate::queue::destination::{Channel, Destination, OpenError, Opened};
use crate::queue::gate::LogStats;
use crate::queue::overload::Overload;
use crate::queue::pending::AnyQueue;

/// The query log of a process, which writes records to each of its [destinations](Destination). Clones share the log.
///
/// Each destination has a bounded queue, and a thread that writes in batches. See [`Durability`](crate::Durability) for
/// what a crash can take, and [`Overload`] for what happens when a destination does not keep up.
///
/// [Close](Self::close) the log when the service has ended. If the last clone is dropped without that, the drop closes
/// it, and waits for at most five seconds.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// use std::time::Duration;
/// use tagtrail::{Sample, Trail};
/// use tagtrail_querylog::{LogFiles, Outcome, Record};
///
/// let log = LogFiles::new(folder).open()?;
/// let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
/// record.end(Duration::from_secs(1), Outcome::Complete);
/// drop(log.append(&record));
/// log.close_blocking(Duration::from_secs(5))?;
/// assert_eq!(log.stats().written, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct QueryLog(Arc<Channels>);

#[derive(Debug)]
struct Channels(Vec<Box<dyn Channel>>);

/// The destinations of a log that is about to be opened. See [`QueryLog::builder`].
#[derive(Default)]
#[must_use]
pub struct QueryLogBuilder(Vec<Start>);

type Start = Box<dyn FnOnce() -> Result<Opened, OpenError> + Send>;

/// The maximum time that a drop waits.
const DRAIN: Duration = Duration::from_secs(5);

impl QueryLogBuilder {
    /// Adds a destination. Each record is written to all destinations, with the settings of each.
    pub fn to(mut self, destination: impl Destination) -> Self {
        self.0.push(Box::new(move || destination.start()));
        self
    }

    /// Opens the log. A log without a destination keeps nothing.
    ///
    /// # Errors
    ///
    /// If a destination cannot be opened.
    pub fn open(self) -> Result<QueryLog, OpenError> {
        let mut channels = Channels(Vec::with_capacity(self.0.len()));
        for start in self.0 {
            channels.0.push(start()?.0);
        }
        Ok(QueryLog(Arc::new(channels)))
    }
}

impl fmt::Debug for QueryLogBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryLogBuilder").field("destinations", &self.0.len()).finish_non_exhaustive()
    }
}

impl QueryLog {
    /// Returns a builder for a log with one or more destinations.
    ///
    /// For a single one, [`LogFiles::open`](crate::LogFiles::open) and `LogStore::open` are shorter.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let [files, copy] = ["log", "copy"].map(|name| folder.path().join(name));
    /// use tagtrail_querylog::{LineFormat, LogFiles, QueryLog};
    ///
    /// let exported = LineFormat::Exported { api_version: "2024-05".into() };
    /// let log = QueryLog::builder().to(LogFiles::new(files)).to(LogFiles::new(copy).format(exported)).open()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> QueryLogBuilder {
        QueryLogBuilder::default()
    }

    /// Records that a request has started, and returns at once. A store has the record, without an end, until it is
    /// [appended](Self::append). Files contain only records that have ended, so nothing is written to them.
    ///
    /// A [`QueryLogLayer`](crate::QueryLogLayer) does this for each request.
    pub fn begin(&self, record: &Record) -> Ack {
        Ack::of(self.channels().filter_map(|channel| channel.begin(record)))
    }

    /// Queues a record, and returns at once.
    pub fn append(&self, record: &Record) -> Ack {
        Ack::of(self.channels().map(|channel| channel.append(Cow::Borrowed(record))))
    }

    /// Queues a record, without a copy if possible.
    pub(crate) fn append_owned(&self, record: Record) -> Ack {
        match &*self.0.0 {
            [only] => Ack::of([only.append(Cow::Owned(record))]),
            _ => self.append(&record),
        }
    }

    /// Writes what was appended until now without waiting for batches to grow. The returned [`Ack`] is ready when
    /// everything is written.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let log = tagtrail_querylog::LogFiles::new(folder.path()).open()?;
    /// // For example, at the end of a batch job.
    /// log.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush(&self) -> Ack {
        Ack::of(self.channels().flat_map(|channel| channel.queue().flush()))
    }

    /// Returns the statistics, summed over all destinations. A running request counts only once.
    pub fn stats(&self) -> LogStats {
        let each = self.stats_by_destination();
        let mut sum = LogStats { open: each.first().map_or(0, |stats| stats.open), ..LogStats::default() };
        for stats in each {
            sum.written += stats.written;
            sum.queued += stats.queued;
            sum.shed += stats.shed;
            sum.failed += stats.failed;
            sum.rejected = sum.rejected.max(stats.rejected);
        }
        sum
    }

    /// Returns the statistics of each destination, in the order in which they were added.
    pub fn stats_by_destination(&self) -> Vec<LogStats> {
        self.queues().map(|queue| queue.gate().tally.stats()).collect()
    }

    /// Closes the log: it accepts no more records, and this waits until those in the queue are written. Requests that
    /// are still running have no record in files, where a [`Gap`](crate::Gap) counts them, and a record without an end
    /// in a store.
    ///
    /// # Errors
    ///
    /// If records are not written in time. The error has their number.
    pub async fn close(&self, limit: Duration) -> Result<(), CloseError> {
        let log = self.clone();
        let deadline = Instant::now().checked_add(limit);
        match tokio::task::spawn_blocking(move || log.0.close(deadline)).await {
            Ok(closed) => closed,
            // The runtime is being shut down, and does not run the task.
            Err(_) => self.0.close(deadline),
        }
    }

    /// Closes the log like [`close`](Self::close), but blocks the thread.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn close_blocking(&self, limit: Duration) -> Result<(), CloseError> {
        self.0.close(Instant::now().checked_add(limit))
    }

    #[cfg(test)]
    pub(crate) fn start(destinations: impl IntoIterator<Item = Opened>) -> Self {
        Self(Arc::new(Channels(destinations.into_iter().map(|destination| destination.0).collect())))
    }

    /// Returns what a request that starts now must do about full queues: the strictest of their policies, with the
    /// longest wait. `None` if no queue is full.
    pub(crate) fn overload(&self) -> Option<Overload> {
        let full = self.queues().map(AnyQueue::gate).filter(|gate| gate.is_full());
        full.map(|gate| gate.overload).reduce(Overload::strictest)
    }

    /// Waits until none of the queues is full.
    pub(crate) async fn room(&self) {
        for queue in self.queues() {
            queue.gate().room().await;
        }
    }

    /// Counts a request that is rejected with 503, at the destinations that are full.
    pub(crate) fn reject(&self) {
        self.queues().filter(|queue| queue.gate().is_full()).for_each(AnyQueue::reject);
    }

    /// Counts a request that has started.
    pub(crate) fn opened(&self) {
        for queue in self.queues() {
            queue.gate().tally.open.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that has ended.
    pub(crate) fn ended(&self) {
        for queue in self.queues() {
            queue.gate().tally.open.fetch_sub(1, Relaxed);
        }
    }

    fn channels(&self) -> impl Iterator<Item = &dyn Channel> {
        self.0.0.iter().map(|channel| &**channel)
    }

    fn queues(&self) -> impl Iterator<Item = &dyn AnyQueue> {
        self.channels().map(Channel::queue)
    }
}

impl Channels {
    fn close(&self, deadline: Option<Instant>) -> Result<(), CloseError> {
        let queues: Vec<_> = self.0.iter().map(|channel| channel.queue()).collect();
        let failed = |queue: &dyn AnyQueue| queue.gate().tally.failed.load(Relaxed);
        let failed_before: u64 = queues.iter().map(|queue| failed(*queue)).sum();
        // All at once, so that a destination that hangs takes no time from the others.
        queues.iter().for_each(|queue| queue.close(deadline));
        // A little longer, for the work of a writer after its deadline.
        let deadline = deadline.and_then(|deadline| deadline.checked_add(Duration::from_millis(50)));
        let have_ended = queues.iter().fold(true, |ended, queue| queue.wait_ended(deadline) && ended);
        let queued: u64 = queues.iter().map(|queue| queue.gate().tally.queued.load(Relaxed)).sum();
        let records = queued + queues.iter().map(|queue| failed(*queue)).sum::<u64>() - failed_before;
        if have_ended && records == 0 { Ok(()) } else { Err(CloseError { records }) }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        if let Err(error) = self.close(Instant::now().checked_add(DRAIN)) {
            tracing::error!(%error, "query log: dropped before everything was written");
        }
    }
}

/// The error of a log that was closed before everything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query log did not close in time: {records} records are not written")]
#[non_exhaustive]
pub struct CloseError {
    /// The number of records that were queued and not written.
    pub records: u64,
}
