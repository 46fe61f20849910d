//! The queue of a destination: one batch that is filled while the writer has another.
//!
//! Appending is a lock and a copy or a move. The writer takes all there is, which makes a batch; while it is busy the
//! next batch grows. What is in both counts against the limit.

use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::gap::{Gaps, Why};
use crate::model::time::Timestamp;
use crate::queue::ack::{AppendError, Done, State, WHOLE, Written};
use crate::queue::batch::Batch;
use crate::queue::gate::Gate;

#[derive(Debug)]
pub(crate) struct Queue<B> {
    state: Mutex<Pending<B>>,
    /// The writer waits for this.
    work: Condvar,
    pub(crate) gate: Gate,
    /// Set when the writer is gone.
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
    /// What the writer has, and how many bytes that is.
    taken: Arc<Done>,
    taken_bytes: usize,
    /// Whether the batch is written without waiting for it to grow.
    is_urgent: bool,
    writer: Writer,
    closing: Option<Closing>,
}

/// Until when the writer may take to drain; `None` for as long as it takes.
type Closing = Option<Instant>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// Waits for a first record.
    Idle,
    /// Waits for a batch to grow.
    Gathering,
    /// Writes, or has been woken.
    Busy,
}

/// What the writer must do next.
pub(crate) enum Task<B> {
    Write(Box<Taken<B>>),
    /// It is the time that was named.
    Tick,
    /// The log is closed, and all is written or it is too late.
    End {
        wrote_all: bool,
    },
}

/// What the writer has in hand.
#[derive(Default)]
pub(crate) struct Taken<B> {
    pub(crate) batch: B,
    /// When the first record came, if there is one.
    came: Option<Timestamp>,
    pub(crate) gaps: Gaps,
    done: Arc<Done>,
}

/// If the writer panics with a batch in hand, those who wait learn of it.
impl<B> Drop for Taken<B> {
    fn drop(&mut self) {
        self.done.set(Written::all(Err(AppendError::Closed)));
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
        state.taken.set(Written::all(Ok(())));
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

    /// Takes a batch back that is written, or that the writer drops: what is unwritten of it is then missing.
    pub(crate) fn finish(&self, mut taken: Taken<B>, result: Result<(), AppendError>) {
        let batch = std::mem::take(&mut taken.batch);
        let (unwritten, rejected) = (batch.unwritten(), batch.rejected());
        let lost = unwritten.len() as u64;
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
            // They are missing from the time on when they came, and not only since they were dropped.
            let from = taken.came.unwrap_or(Timestamp::MAX);
            state.gaps.note_since(from, Why::Failed, lost);
            state.gaps.note_since(from, Why::Rejected, rejected.len() as u64);
            if state.batch.len() == 0 {
                state.batch = spare;
            }
            self.gate.filled.store(state.batch.bytes(), Relaxed);
        }
        taken.done.set(Written { result, rejected, unwritten: Some(unwritten) });
        self.gate.freed.notify_waiters();
    }

    /// Waits before the writer tries again. Returns whether it may: not if the log must be closed by now.
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

    /// It is too late to write what is queued: counts it as missing, and returns all that is known to be missing.
    pub(crate) fn drop_queued(&self) -> Gaps {
        let mut state = self.lock();
        let batch = std::mem::take(&mut state.batch);
        let came = state.came;
        state.gaps.note_since(came, Why::Failed, batch.len());
        self.gate.tally.failed.fetch_add(batch.len(), Relaxed);
        self.gate.tally.queued.fetch_sub(batch.len(), Relaxed);
        state.done.set(Written::all(Err(AppendError::Closed)));
        std::mem::take(&mut state.gaps)
    }

    /// The writer is gone: those who wait for a batch learn that it is not written, and requests that it has no room.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closing.get_or_insert_with(|| Some(Instant::now()));
        state.done.set(Written::all(Err(AppendError::Closed)));
        drop(state);
        self.gate.ended.store(true, Relaxed);
        // What the writer had in hand, if it panicked.
        let left = self.gate.tally.queued.swap(0, Relaxed);
        self.gate.tally.failed.fetch_add(left, Relaxed);
        self.gate.tally.orphaned.store(left, Relaxed);
        self.gate.freed.notify_waiters();
        self.ended.set(Written::all(Ok(())));
    }
}

/// A queue, whatever its batches are.
pub(crate) trait AnyQueue {
    fn gate(&self) -> &Gate;

    /// Counts a request that is rejected with 503, since the queue is full.
    fn reject(&self);

    /// Has everything that is queued written without delay: two states, of what is being written and of what waits.
    fn flush(&self) -> [State; 2];

    /// Takes no more records. The writer may take until `deadline` to write those there are.
    fn close(&self, deadline: Option<Instant>);

    /// Whether it takes no more records.
    fn is_closing(&self) -> bool;

    /// Waits until the writer is gone; returns whether it is. If it is not, those who wait for a record wait no longer.
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
        let mut state = self.lock();
        let taken = State::queued(Arc::clone(&state.taken), WHOLE);
        if state.batch.len() == 0 {
            return [taken, State::Known(Ok(()))];
        }
        state.is_urgent = true;
        let waiting = State::queued(Arc::clone(&state.done), WHOLE);
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

    fn is_closing(&self) -> bool {
        self.lock().closing.is_some()
    }

    fn wait_ended(&self, deadline: Option<Instant>) -> bool {
        if self.ended.wait_until(deadline).is_some() {
            return true;
        }
        let state = self.lock();
        for done in [&state.taken, &state.done] {
            done.set(Written::all(Err(AppendError::Closed)));
        }
        false
    }
}
