//! The log of a process: [`QueryLog`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::model::limits::TextLimits;
use crate::model::record::Record;
use crate::queue::ack::Ack;
use crate::queue::destination::{Channel, Destination, OpenError, Opened};
use crate::queue::gate::LogStats;
use crate::queue::overload::Overload;
use crate::queue::pending::AnyQueue;

/// The query log of a process: takes records, and writes them to each of its [destinations](Destination). A clone is the
/// same log.
///
/// Each destination has a queue with a limit, and a thread that writes in batches. See
/// [`Durability`](crate::Durability) for what a crash can take, and [`Overload`] for what happens when a destination
/// does not keep up.
///
/// [Close](Self::close) it when the service has ended. Otherwise, dropping the last clone closes it, and waits for at
/// most five seconds.
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

/// How long a drop waits.
const DRAIN: Duration = Duration::from_secs(5);

impl QueryLogBuilder {
    /// Adds a destination. Each record is written to all of them, to each by its own settings.
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

    /// Records that a request has started, and returns at once. A store has the record from now on, without its end,
    /// until it is [appended](Self::append). Files have records when they end, so for them there is nothing to do.
    ///
    /// A [`QueryLogLayer`](crate::QueryLogLayer) does this for each request.
    pub fn begin(&self, record: &Record) -> Ack {
        self.begin_limited(&record.within(&TextLimits::default()))
    }

    /// Queues a record, and returns at once. Texts beyond the default limits of a layer are
    /// [cut](crate::QueryLogLayer::max_text).
    pub fn append(&self, record: &Record) -> Ack {
        self.append_limited(&record.within(&TextLimits::default()))
    }

    pub(crate) fn begin_limited(&self, record: &Record) -> Ack {
        Ack::of(self.channels().filter_map(|channel| channel.begin(record)))
    }

    fn append_limited(&self, record: &Record) -> Ack {
        Ack::of(self.channels().map(|channel| channel.append(Cow::Borrowed(record), 0)))
    }

    /// Queues a record that is within its limits, without a copy if possible. If room was [reserved](Self::reserve) for
    /// it, `start` is the weight of its start.
    pub(crate) fn append_owned(&self, record: Record, start: Option<usize>) -> Ack {
        match &*self.0.0 {
            [only] => Ack::of([only.append(Cow::Owned(record), reserved(&**only, start))]),
            all => Ack::of(all.iter().map(|each| each.append(Cow::Borrowed(&record), reserved(&**each, start)))),
        }
    }

    /// Reserves room for the end of a request whose start has this weight, in each queue whose policy is to fail, so
    /// that a request which is handled has its record. Returns whether all of them have room.
    pub(crate) fn reserve(&self, start: usize) -> bool {
        let reserving = self.channels().take_while(|channel| {
            let bytes = reserved(*channel, Some(start));
            bytes == 0 || channel.queue().reserve(bytes)
        });
        let count = reserving.count();
        let has_room = count == self.0.0.len();
        if !has_room {
            self.channels().take(count).for_each(|channel| channel.queue().release(reserved(channel, Some(start))));
        }
        has_room
    }

    /// Gives back what was reserved, if no record is appended.
    pub(crate) fn release(&self, start: usize) {
        self.channels().for_each(|channel| channel.queue().release(reserved(channel, Some(start))));
    }

    /// Whether a request is rejected if there is no room for its record.
    pub(crate) fn reserves(&self) -> bool {
        self.queues().any(|queue| matches!(queue.gate().overload, Overload::Fail { .. }))
    }

    /// Writes what was appended until now, without waiting for a batch to grow. The returned [`Ack`] is ready when that
    /// is done.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let log = tagtrail_querylog::LogFiles::new(folder.path()).open()?;
    /// // At the end of a batch job, say.
    /// log.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush(&self) -> Ack {
        Ack::of(self.channels().flat_map(|channel| channel.queue().flush()))
    }

    /// Returns what became of the records until now, summed over all destinations, except that a request which is
    /// running counts once.
    pub fn stats(&self) -> LogStats {
        let each = self.stats_by_destination();
        let mut sum = LogStats { open: each.first().map_or(0, |stats| stats.open), ..LogStats::default() };
        for stats in each {
            sum.written += stats.written;
            sum.queued += stats.queued;
            sum.spooled += stats.spooled;
            sum.shed += stats.shed;
            sum.failed += stats.failed;
            sum.rejected = sum.rejected.max(stats.rejected);
            sum.is_unusable |= stats.is_unusable;
        }
        sum
    }

    /// Returns what became of the records until now, for each destination, in the order in which they were added.
    pub fn stats_by_destination(&self) -> Vec<LogStats> {
        self.queues().map(|queue| queue.gate().tally.stats()).collect()
    }

    /// Takes no more records, and waits until those that are queued are written, to a store or at least to its
    /// [`Spool`](crate::Spool). Requests that are still running have no record in files, and one without an end in a
    /// store; in both, a [`Gap`](crate::Gap) counts them.
    ///
    /// # Errors
    ///
    /// If not everything is written in this time. The error has the number of records that are not.
    pub async fn close(&self, limit: Duration) -> Result<(), CloseError> {
        let log = self.clone();
        let deadline = Instant::now().checked_add(limit);
        // Outside tokio, this blocks the thread.
        let Ok(runtime) = Handle::try_current() else { return self.0.close(deadline) };
        match runtime.spawn_blocking(move || log.0.close(deadline)).await {
            Ok(closed) => closed,
            // The runtime is being shut down, and does not run the task.
            Err(_) => self.0.close(deadline),
        }
    }

    /// Closes the log like [`close`](Self::close), and blocks the thread: for use outside async functions.
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

    /// What a request that starts now must do about queues that are full: the strictest policy of theirs, with the
    /// longest wait. `None` if none is full.
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

    /// Counts a request that is rejected with 503: at those destinations that are full, and at one at least.
    pub(crate) fn reject(&self) {
        let full: Vec<_> = self.queues().filter(|queue| queue.gate().is_full()).collect();
        // There may be room since the request was rejected.
        let fails = |queue: &&dyn AnyQueue| matches!(queue.gate().overload, Overload::Fail { .. });
        let first = self.queues().find(fails).into_iter().filter(|_| full.is_empty());
        full.iter().copied().chain(first).for_each(AnyQueue::reject);
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

/// Returns how many bytes are reserved in a queue for the end of a request whose start has this weight.
fn reserved(channel: &dyn Channel, start: Option<usize>) -> usize {
    let fails = matches!(channel.queue().gate().overload, Overload::Fail { .. });
    start.filter(|_| fails).map_or(0, |start| channel.reservation(start))
}

impl Channels {
    fn close(&self, deadline: Option<Instant>) -> Result<(), CloseError> {
        let queues: Vec<_> = self.0.iter().map(|channel| channel.queue()).collect();
        let count_failed = || queues.iter().map(|queue| queue.gate().tally.failed.load(Relaxed)).sum::<u64>();
        let failed_before = count_failed();
        // All of them at once, so that one which hangs takes no time from the others.
        for queue in &queues {
            queue.close(deadline);
        }
        // A moment longer, for what a writer does after its deadline.
        let deadline = deadline.and_then(|deadline| deadline.checked_add(Duration::from_millis(50)));
        let all_ended = queues.iter().map(|queue| queue.wait_ended(deadline)).filter(|ended| !ended).count() == 0;
        let waiting: u64 = queues.iter().map(|queue| queue.gate().tally.queued.load(Relaxed)).sum();
        let orphaned: u64 = queues.iter().map(|queue| queue.gate().tally.orphaned.load(Relaxed)).sum();
        let records = (waiting + count_failed() - failed_before).max(orphaned);
        if all_ended && records == 0 { Ok(()) } else { Err(CloseError { records }) }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        // A close that took too long has waited already. A destination whose writer panicked takes no time from others.
        let is_late = self.0.iter().all(|channel| channel.queue().is_closing());
        let limit = if is_late { Duration::ZERO } else { DRAIN };
        if let Err(error) = self.close(Instant::now().checked_add(limit)) {
            tracing::error!(%error, "query log: dropped before everything was written");
        }
    }
}

/// A log was closed before everything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query log did not close in time: {records} records are not written")]
#[non_exhaustive]
pub struct CloseError {
    /// How many records were queued, and are not written.
    pub records: u64,
}
