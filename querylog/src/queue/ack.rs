//! The acknowledgement of a record: [`Ack`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener, Listener};

/// The acknowledgement of a record that was appended: a future that is ready when the record is as safe as
/// [`Durability`](crate::Durability) or the store makes it. A record is written whether or not anyone waits.
///
/// If a log has several destinations, the future is ready when all of them have the record. A clone gives the same
/// result.
///
/// ```
/// use std::time::Duration;
/// use tagtrail::{Sample, Trail};
/// use tagtrail_querylog::{Durability, LogFiles, Outcome, Record};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let log = LogFiles::new(folder.path()).durability(Durability::Synced).open()?;
/// let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
/// record.end(Duration::from_secs(1), Outcome::Complete);
/// log.append(&record).await?;
/// // The record is on disk, whatever happens to this machine's power now.
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ack {
    first: State,
    /// One for each further destination.
    others: Vec<State>,
}

/// What is known of a record at one destination.
#[derive(Debug)]
pub(crate) enum State {
    Known(Result<(), AppendError>),
    Queued { batch: Arc<Done>, number: u64, listener: Option<Pin<Box<EventListener>>> },
}

impl Clone for State {
    fn clone(&self) -> Self {
        match self {
            Self::Known(result) => Self::Known(*result),
            Self::Queued { batch, number, .. } => Self::queued(Arc::clone(batch), *number),
        }
    }
}

impl State {
    /// Of a record that is in a batch, under this number.
    pub(crate) fn queued(batch: Arc<Done>, number: u64) -> Self {
        Self::Queued { batch, number, listener: None }
    }

    fn wait_until(&self, end: Option<Instant>) -> Option<Result<(), AppendError>> {
        match self {
            Self::Known(result) => Some(*result),
            Self::Queued { batch, number, .. } => batch.wait_until(end).map(|written| written.of(*number)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        let result = match self {
            Self::Known(result) => *result,
            Self::Queued { batch, number, listener } => ready!(batch.poll(listener, cx)).of(*number),
        };
        *self = Self::Known(result);
        Poll::Ready(result)
    }
}

impl Ack {
    /// Of a record that has these states at the destinations of a log; none if there is nothing to wait for.
    pub(crate) fn of(states: impl IntoIterator<Item = State>) -> Self {
        let mut states = states.into_iter();
        Self { first: states.next().unwrap_or(State::Known(Ok(()))), others: states.collect() }
    }

    /// Waits without a runtime, for at most this long, and blocks the thread. Returns `None` if it takes longer.
    ///
    /// # Errors
    ///
    /// As the future.
    pub fn wait(&self, limit: Duration) -> Option<Result<(), AppendError>> {
        let end = Instant::now().checked_add(limit);
        let mut states = std::iter::once(&self.first).chain(&self.others);
        states.try_fold(Ok(()), |result: Result<_, _>, state| Some(result.and(state.wait_until(end)?)))
    }
}

impl Future for Ack {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { first, others } = &mut *self;
        let mut result = ready!(first.poll(cx));
        for state in others {
            result = result.and(ready!(state.poll(cx)));
        }
        Poll::Ready(result)
    }
}

/// Why a record is not known to be in the log. Except for [`NotSampled`](Self::NotSampled) and
/// [`TimedOut`](Self::TimedOut), the record is counted in [`LogStats`](crate::LogStats), and reported in a
/// [`Gap`](crate::Gap).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue is full: the disk or the store does not keep up.
    #[error("not written to the query log: the queue is full")]
    Shed,
    /// The record is larger than the whole queue.
    #[error("not written to the query log: the record is larger than the queue (see `queue_bytes`)")]
    TooLarge,
    /// The store rejects the record, and would do so again. It is set aside in a file, with the reason.
    #[error("not written to the query log: the store rejected the record")]
    Rejected,
    /// The request is not in the sample, so its start is not recorded.
    #[error("not written to the query log: the request is not in the sample")]
    NotSampled,
    /// The log is closed. Once its last batch is written, such a record is counted, but no gap is written any more.
    #[error("not written to the query log: the log is closed")]
    Closed,
    /// It is not known in time whether the record is written. It may be, later.
    #[error("not known to be in the query log in time: the file or store does not respond")]
    TimedOut,
    /// The destination could not be written before the log had to be closed.
    #[error("not written to the query log: the file or store could not be written ({0})")]
    Failed(io::ErrorKind),
}

/// The number that stands for a whole batch. No record has it.
pub(crate) const WHOLE: u64 = u64::MAX;

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) result: Result<(), AppendError>,
    /// The numbers of the records that were rejected, in order,
    pub(crate) rejected: Vec<u64>,
    /// and of those that are not written; all of the batch for `None`.
    pub(crate) unwritten: Option<Vec<u64>>,
}

impl Written {
    fn of(&self, number: u64) -> Result<(), AppendError> {
        let has = |numbers: &Vec<u64>| numbers.binary_search(&number).is_ok();
        if has(&self.rejected) {
            return Err(AppendError::Rejected);
        }
        if self.unwritten.as_ref().is_none_or(|unwritten| number == WHOLE || has(unwritten)) {
            self.result
        } else {
            Ok(())
        }
    }

    /// The same result for all records of a batch.
    pub(crate) fn all(result: Result<(), AppendError>) -> Self {
        Self { result, rejected: Vec::new(), unwritten: None }
    }
}

/// Whether a batch is written: set once, for all who wait.
#[derive(Default)]
pub(crate) struct Done {
    written: OnceLock<Written>,
    event: Event,
}

impl Done {
    /// Sets what became of the batch. What is set first stays.
    pub(crate) fn set(&self, written: Written) {
        if self.written.set(written).is_ok() {
            self.event.notify(usize::MAX);
        }
    }

    fn poll(&self, listener: &mut Option<Pin<Box<EventListener>>>, cx: &mut Context<'_>) -> Poll<&Written> {
        loop {
            if let Some(written) = self.written.get() {
                return Poll::Ready(written);
            }
            match listener {
                // What was set since the look above wakes this one.
                None => *listener = Some(Box::pin(self.event.listen())),
                Some(listening) => {
                    ready!(listening.as_mut().poll(cx));
                    *listener = None;
                }
            }
        }
    }

    /// Waits; without an end for `None`.
    pub(crate) fn wait_until(&self, end: Option<Instant>) -> Option<&Written> {
        loop {
            if let Some(written) = self.written.get() {
                return Some(written);
            }
            let listener = self.event.listen();
            if self.written.get().is_some() {
                continue;
            }
            match end {
                None => listener.wait(),
                Some(end) => listener.wait_deadline(end)?,
            }
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("written", &self.written).finish_non_exhaustive()
    }
}
