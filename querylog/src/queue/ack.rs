//! The acknowledgement of a record: [`Ack`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

/// The acknowledgement of a record that was appended: a future, ready when the record is as safe as
/// [`Durability`](crate::Durability) asks. Whoever has no use for it drops it; the record is written all the same.
///
/// ```
/// use std::time::Duration;
/// use tagtrail::{Sample, Trail};
/// use tagtrail_querylog::{Durability, Outcome, QueryLog, Record};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let log = QueryLog::settings(folder.path()).durability(Durability::Synced).open()?;
/// let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
/// record.end(Duration::from_secs(1), Outcome::Complete);
/// log.append(&record).await?;
/// // The record is on disk, whatever happens to this machine's power now.
/// # Ok(())
/// # }
/// ```
///
/// Where a log writes to two places, both have it then.
#[derive(Debug)]
pub struct Ack {
    first: State,
    second: Option<Box<Ack>>,
}

#[derive(Debug)]
enum State {
    Known(Result<(), AppendError>),
    Queued { batch: Arc<Done>, number: u64, place: Option<usize> },
}

impl Ack {
    /// Of a record that is in a batch, as the one of a number.
    pub(crate) fn of(pushed: Result<(Arc<Done>, u64), AppendError>) -> Self {
        let first = match pushed {
            Ok((batch, number)) => State::Queued { batch, number, place: None },
            Err(why) => State::Known(Err(why)),
        };
        Self { first, second: None }
    }

    /// There is nothing to wait for.
    pub(crate) fn nothing() -> Self {
        Self { first: State::Known(Ok(())), second: None }
    }

    /// Of two logs.
    pub(crate) fn and(self, second: Option<Self>) -> Self {
        Self { second: second.map(Box::new), ..self }
    }

    /// Waits, without a runtime, for at most this long; `None` if it takes longer.
    ///
    /// # Errors
    ///
    /// As the future.
    pub fn wait(&self, limit: Duration) -> Option<Result<(), AppendError>> {
        self.wait_until(Instant::now().checked_add(limit))
    }

    fn wait_until(&self, end: Option<Instant>) -> Option<Result<(), AppendError>> {
        let first = match &self.first {
            State::Known(result) => *result,
            State::Queued { batch, number, .. } => batch.wait_until(end)?.and(batch.has_taken(*number)),
        };
        let second = self.second.as_ref().map_or(Some(Ok(())), |second| second.wait_until(end))?;
        Some(first.and(second))
    }
}

impl Future for Ack {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { first, second } = &mut *self;
        let result = match first {
            State::Known(result) => *result,
            State::Queued { batch, number, place } => ready!(batch.poll(place, cx)).and(batch.has_taken(*number)),
        };
        *first = State::Known(result);
        match second {
            Some(second) => Pin::new(&mut **second).poll(cx).map(|second| result.and(second)),
            None => Poll::Ready(result),
        }
    }
}

/// Why a record is not known to be in the log. Each such record is counted, and a [`Gap`](crate::Gap) tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue is full: the disk does not keep up.
    #[error("not written to the query log: the queue is full, since the disk does not keep up")]
    Shed,
    /// The record is larger than the whole queue.
    #[error("not written to the query log: the record is larger than the queue; allow a larger one in the settings")]
    TooLarge,
    /// The store does not take it, however often it is asked.
    #[error("not written to the query log: the store refuses it, and its own log says why")]
    Refused,
    /// The log is closed.
    #[error("not written to the query log: it is closed")]
    Closed,
    /// The file could not be written for as long as the settings allow.
    #[error("not written to the query log: {0}")]
    Failed(io::ErrorKind),
}

/// Whether a batch is written: told once, to all who wait.
#[derive(Default)]
pub(crate) struct Done {
    state: Mutex<Waiting>,
    told: Condvar,
}

#[derive(Default)]
struct Waiting {
    result: Option<Result<(), AppendError>>,
    /// The numbers of records that are missing all the same, in order.
    refused: Vec<u64>,
    wakers: Vec<Waker>,
}

impl Done {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told first stays.
    pub(crate) fn tell(&self, result: Result<(), AppendError>) {
        self.tell_without(Vec::new(), result);
    }

    /// The same of all but the records of these numbers, which are in order.
    pub(crate) fn tell_without(&self, refused: Vec<u64>, result: Result<(), AppendError>) {
        let wakers = {
            let mut waiting = self.lock();
            if waiting.result.is_none() {
                (waiting.result, waiting.refused) = (Some(result), refused);
            }
            std::mem::take(&mut waiting.wakers)
        };
        self.told.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the record of a number is not one of those that are missing in a batch that is written.
    fn has_taken(&self, number: u64) -> Result<(), AppendError> {
        let is_refused = self.lock().refused.binary_search(&number).is_ok();
        if is_refused { Err(AppendError::Refused) } else { Ok(()) }
    }

    /// `place` is where the waker of this caller is, from its first call on.
    fn poll(&self, place: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        let mut waiting = self.lock();
        if let Some(result) = waiting.result {
            return Poll::Ready(result);
        }
        if let Some(waker) = place.and_then(|place| waiting.wakers.get_mut(place)) {
            waker.clone_from(cx.waker());
        } else {
            *place = Some(waiting.wakers.len());
            waiting.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits; without an end for `None`.
    pub(crate) fn wait_until(&self, end: Option<Instant>) -> Option<Result<(), AppendError>> {
        let mut waiting = self.lock();
        loop {
            if waiting.result.is_some() {
                return waiting.result;
            }
            let Some(end) = end else {
                waiting = self.told.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            waiting = self.told.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("result", &self.lock().result).finish_non_exhaustive()
    }
}
