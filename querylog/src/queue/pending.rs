//! The queue of a destination: one batch is filled while the writer has another.
//!
//! Appending takes a lock, and a copy or a move. The writer takes everything that is queued as a batch; while it is
//! busy, the next batch grows. Both count against the limit.

use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::gap::{Gaps, Why};
use crate::model::time::Timestamp;
use crate::queue::ack::{AppendError, Done, State, Written};
use crate::queue::batch::Batch;
use crate::queue::gate::Gate;

#[derive(Debug)]
pub(crate) struct Queue<B> {
    state: Mutex<Pending<B>>,
    /// The writer waits for this.
    work: Condvar,
    pub(crate) gate: Gate,
    /// Set when the writer has ended.
    pub(crate) ended: Done,
}

#[derive(Debug)]
struct Pending<B> {
    batch: B,
    /// When the first record of the batch came,
    since: Instant,
    /// and what the clock showed then.
    came: Timestamp,
    done: Arc<Done>,
    gaps: Gaps,
    /// The batch that the writer has, and its bytes.
    taken: Arc<Done>,
    taken_bytes: usize,
    /// Whether the batch is written without waiting for it to grow.
    is_urgent: bool,
    writer: Writer,
    closing: Option<Closing>,
}

/// The deadline for the writer to drain the queue; `None` if there is none.
type Closing = Option<Instant>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// Waits for the first record.
    Idle,
    /// Waits for a batch to grow.
    Gathering,
    /// Writes, or has been woken.
    Busy,
}

/// The next task of the writer.
pub(crate) enum Task<B> {
    Write(Box<Taken<B>>),
    /// The requested time has come.
    Tick,
    /// The log is closed, and everything is written, or the deadline has passed.
    End {
        wrote_all: bool,
    },
}

/// The batch that the writer has.
#[derive(Default)]
pub(crate) struct Taken<B> {
    pub(crate) batch: B,
    /// When the first record came, if there is one.
    came: Option<Timestamp>,
    pub(crate) gaps: Gaps,
    done: Arc<Done>,
}

/// If the writer panics while it has a batch, everyone who waits is notified.
impl<B> Drop for Taken<B> {
    fn drop(&mut self) {
        self.done.set(Written { result: Err(AppendError::Closed), rejected: Vec::new() });
    }
}

impl<B: Batch> Queue<B> {
    pub(crate) fn new(gate: Gate) -> Self {
        let state = Pending {
            batch: B::default(),
            since: Instant::now(),
            came: Timestamp::now(),
            done: Arc::default(),
            gaps: Gaps::default(),
            taken: Arc::default(),
            taken_bytes: 0,
            is_urgent: false,
            writer: Writer::Busy,
            closing: None,
        };
        state.taken.set(Written { result: Ok(()), rejected: Vec::new() });
        Self { state: Mutex::new(state), work: Condvar::new(), gate, ended: Done::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Pending<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one record.
    #[inline]
    pub(crate) fn push(&self, item: B::Item<'_>) -> State {
        let limit = self.gate.limits.queue;
        let weight = B::weigh(&item);
        let mut state = self.lock();
        let filled = state.taken_bytes + state.batch.bytes() + weight;
        let rejection = match () {
            () if state.closing.is_some() => Some((Why::Closed, AppendError::Closed)),
            () if weight > limit => Some((Why::TooLarge, AppendError::TooLarge)),
            () if filled > limit => Some((Why::Overload, AppendError::Shed)),
            () => None,
        };
        if let Some((why, error)) = rejection {
            self.gate.tally.shed.fetch_add(1, Relaxed);
            state.gaps.note(why, 1);
            self.wake_writer(state);
            return State::Known(Err(error));
        }
        let number = state.batch.len();
        if number == 0 {
            (state.since, state.came) = (Instant::now(), Timestamp::now());
        }
        state.batch.push(item, limit);
        self.gate.tally.queued.fetch_add(1, Relaxed);
        self.gate.filled.store(filled, Relaxed);
        let done = Arc::clone(&state.done);
        self.wake_writer(state);
        State::queued(done, number)
    }

    /// Counts a record that could not be queued.
    #[cold]
    pub(crate) fn fail(&self, kind: ErrorKind) -> State {
        self.gate.tally.failed.fetch_add(1, Relaxed);
        let mut state = self.lock();
        state.gaps.note(Why::Failed, 1);
        self.wake_writer(state);
        State::Known(Err(AppendError::Failed(kind)))
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, Pending<B>>) {
        let wakes = match state.writer {
            Writer::Idle => true,
            Writer::Gathering => state.is_urgent || state.batch.bytes() >= self.gate.limits.batch,
            Writer::Busy => false,
        };
        if wakes {
            state.writer = Writer::Busy;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Waits for the writer's next task, at most until `tick`.
    pub(crate) fn next(&self, tick: Option<Instant>) -> Task<B> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let is_empty = state.batch.len() == 0 && state.gaps.is_empty();
            let (doing, until) = match (is_empty, state.closing) {
                (true, Some(_)) => return Task::End { wrote_all: true },
                (false, Some(Some(deadline))) if deadline <= now => return Task::End { wrote_all: false },
                (true, None) if tick.is_some_and(|tick| tick <= now) => return Task::Tick,
                (true, None) => (Writer::Idle, tick),
                (false, Some(_)) => break,
                (false, None) => (Writer::Gathering, state.since.checked_add(self.gate.limits.linger)),
            };
            let is_ready = state.is_urgent
                || state.batch.bytes() >= self.gate.limits.batch
                || until.is_none_or(|until| until <= now);
            if doing == Writer::Gathering && is_ready {
                break;
            }
            state.writer = doing;
            state = self.wait(state, until.map(|until| until - now));
        }
        state.writer = Writer::Busy;
        state.is_urgent = false;
        state.taken_bytes = state.batch.bytes();
        state.taken = std::mem::take(&mut state.done);
        let taken = Taken {
            came: (state.batch.len() > 0).then_some(state.came),
            batch: std::mem::take(&mut state.batch),
            gaps: std::mem::take(&mut state.gaps),
            done: Arc::clone(&state.taken),
        };
        Task::Write(Box::new(taken))
    }

    fn wait<'a>(&self, state: MutexGuard<'a, Pending<B>>, limit: Option<Duration>) -> MutexGuard<'a, Pending<B>> {
        match limit {
            Some(limit) => self.work.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Returns a batch that is written, or that the writer drops: its unwritten items are then missing.
    pub(crate) fn finish(&self, mut taken: Taken<B>, result: Result<(), AppendError>) {
        let batch = std::mem::take(&mut taken.batch);
        let (lost, rejected) = (batch.unwritten(), batch.rejected());
        let missing = lost + rejected.len() as u64;
        let tally = &self.gate.tally;
        tally.written.fetch_add(batch.len() - missing, Relaxed);
        tally.failed.fetch_add(missing, Relaxed);
        tally.queued.fetch_sub(batch.len(), Relaxed);
        let spare = batch.recycled();
        {
            let mut state = self.lock();
            state.taken_bytes = 0;
            state.gaps.merge(std::mem::take(&mut taken.gaps));
            // They are missing since they were queued, and not only since they were dropped.
            let from = taken.came.unwrap_or(Timestamp::MAX);
            state.gaps.note_since(from, Why::Failed, lost);
            state.gaps.note_since(from, Why::Rejected, rejected.len() as u64);
            if state.batch.len() == 0 {
                state.batch = spare;
            }
            self.gate.filled.store(state.batch.bytes(), Relaxed);
        }
        taken.done.set(Written { result, rejected });
        self.gate.freed.notify_waiters();
    }

    /// Waits before the writer retries. Returns whether it may: it may not if the deadline for closing has passed.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let deadline = state.closing.flatten();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return false;
            }
            if end <= now {
                return true;
            }
            let until = deadline.map_or(end, |deadline| deadline.min(end));
            state = self.wait(state, Some(until - now));
        }
    }

    /// Notifies everyone who waits for a batch that the writer has ended without writing it.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closing.get_or_insert_with(|| Some(Instant::now()));
        state.done.set(Written { result: Err(AppendError::Closed), rejected: Vec::new() });
        drop(state);
        self.ended.set(Written { result: Ok(()), rejected: Vec::new() });
    }
}

/// A queue with any kind of batch.
pub(crate) trait AnyQueue {
    fn gate(&self) -> &Gate;

    /// Counts a request that is rejected with 503 because the queue is full.
    fn reject(&self);

    /// Writes everything that is queued without delay. Returns two states: of what is being written, and of what is
    /// queued.
    fn flush(&self) -> [State; 2];

    /// Accepts no more records. The writer has until `deadline` to write those in the queue.
    fn close(&self, deadline: Option<Instant>);

    /// Waits until the writer has ended, and returns whether it has.
    fn wait_ended(&self, deadline: Option<Instant>) -> bool;
}

impl<B: Batch> AnyQueue for Queue<B> {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn reject(&self) {
        self.gate.tally.rejected.fetch_add(1, Relaxed);
        let mut state = self.lock();
        state.gaps.note(Why::Unavailable, 1);
        self.wake_writer(state);
    }

    fn flush(&self) -> [State; 2] {
        // No record of a batch has this number, so rejected records are not reported here.
        const NONE: u64 = u64::MAX;
        let mut state = self.lock();
        let taken = State::queued(Arc::clone(&state.taken), NONE);
        if state.batch.len() == 0 {
            return [taken, State::Known(Ok(()))];
        }
        state.is_urgent = true;
        let waiting = State::queued(Arc::clone(&state.done), NONE);
        self.wake_writer(state);
        [taken, waiting]
    }

    fn close(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        state.closing = Some(match state.closing {
            None => {
                state.gaps.note(Why::Open, self.gate.tally.open.load(Relaxed));
                deadline
            }
            // The earlier of both.
            Some(earlier) => earlier.into_iter().chain(deadline).min(),
        });
        drop(state);
        self.work.notify_one();
    }

    fn wait_ended(&self, deadline: Option<Instant>) -> bool {
        self.ended.wait_until(deadline).is_some()
    }
}
