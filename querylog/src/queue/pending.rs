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
use crate::queue::batch::{Batch, Moment, Progress};
use crate::queue::gate::Gate;
use crate::queue::task::{Taken, Task};

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
    /// How many bytes are kept free for the ends of requests that run.
    reserved: usize,
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
            reserved: 0,
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

    /// Queues one record, which has this many bytes reserved.
    #[inline]
    pub(crate) fn push(&self, item: B::Item<'_>, reserved: usize) -> State {
        let limit = self.gate.limits.queue;
        let weight = B::weigh(&item);
        let requests = u64::from(B::is_counted(&item));
        let mut state = self.lock();
        state.reserved -= reserved;
        let filled = state.filled() + weight;
        let rejection = match () {
            () if state.closing.is_some() => Some((Why::Closed, AppendError::Closed)),
            () if weight > limit => Some((Why::TooLarge, AppendError::TooLarge)),
            () if filled > limit => Some((Why::Overload, AppendError::Shed)),
            () => None,
        };
        if let Some((why, error)) = rejection {
            self.gate.tally.shed.fetch_add(requests, Relaxed);
            state.gaps.note(why, requests);
            self.gate.filled.store(filled - weight, Relaxed);
            self.wake_writer(state);
            return State::Known(Err(error));
        }
        let number = state.batch.len();
        if number == 0 {
            (state.since, state.came) = (Instant::now(), Timestamp::now());
        }
        state.batch.push(item, limit);
        self.gate.tally.queued.fetch_add(requests, Relaxed);
        self.gate.filled.store(filled, Relaxed);
        let done = Arc::clone(&state.done);
        self.wake_writer(state);
        State::queued(done, number)
    }

    /// Counts a record that could not be queued, which has this many bytes reserved.
    #[cold]
    pub(crate) fn fail(&self, kind: ErrorKind, reserved: usize) -> State {
        self.release(reserved);
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
                (true, Some(deadline)) => return Task::End { wrote_all: true, deadline },
                (false, Some(deadline @ Some(end))) if end <= now => return Task::End { wrote_all: false, deadline },
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
        let mut done = Arc::default();
        // Without a batch, what was taken before is still the last that is waited for.
        if state.batch.len() > 0 {
            done = std::mem::take(&mut state.done);
            state.taken = Arc::clone(&done);
        }
        let taken = Taken {
            came: (state.batch.len() > 0).then_some(state.came),
            batch: std::mem::take(&mut state.batch),
            gaps: std::mem::take(&mut state.gaps),
            moment: Moment { time: Timestamp::now(), done },
        };
        Task::Write(Box::new(taken))
    }

    fn wait<'a>(&self, state: MutexGuard<'a, Pending<B>>, limit: Option<Duration>) -> MutexGuard<'a, Pending<B>> {
        match limit {
            Some(limit) => self.work.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Takes a batch back that is written or spooled, or that it is too late to write: what is unwritten of it is then
    /// missing.
    pub(crate) fn finish(&self, mut taken: Taken<B>, result: Result<(), AppendError>) {
        let batch = std::mem::take(&mut taken.batch);
        let Progress { unwritten, rejected, spooled, is_acknowledged_later } = batch.progress();
        let missing = unwritten.requests + rejected.requests;
        let tally = &self.gate.tally;
        tally.written.fetch_add(batch.requests() - missing - spooled, Relaxed);
        tally.failed.fetch_add(missing, Relaxed);
        tally.queued.fetch_sub(batch.requests(), Relaxed);
        let spare = batch.recycled();
        {
            let mut state = self.lock();
            state.taken_bytes = 0;
            state.gaps.merge(std::mem::take(&mut taken.gaps));
            // They are missing from the time on when they came, and not only since they were dropped.
            let from = taken.came.unwrap_or(Timestamp::MAX);
            state.gaps.note_since(from, Why::Failed, unwritten.requests);
            state.gaps.note_since(from, Why::Rejected, rejected.requests);
            if state.batch.len() == 0 {
                state.batch = spare;
            }
            self.gate.filled.store(state.filled(), Relaxed);
        }
        if is_acknowledged_later && result.is_ok() {
            taken.moment.done = Arc::default();
        } else {
            // What the spool has of it by now is not known to be in the store.
            let unwritten = (!is_acknowledged_later).then_some(unwritten.numbers);
            taken.moment.done.set(Written { result, rejected: rejected.numbers, unwritten });
        }
        self.gate.freed.notify_waiters();
    }

    /// Keeps this many bytes free for the end of a request that starts now. Returns whether there is room for it.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        let filled = state.filled() + bytes;
        let has_room = filled <= self.gate.limits.queue && state.closing.is_none();
        if has_room {
            state.reserved += bytes;
            self.gate.filled.store(filled, Relaxed);
        }
        has_room
    }

    /// Reserves more, for a record of this weight. Returns whether there is room for it.
    pub(crate) fn enlarge(&self, reserved: usize, weight: usize) -> bool {
        self.reserve(weight.saturating_sub(reserved))
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.reserved -= bytes;
        self.gate.filled.store(state.filled(), Relaxed);
        drop(state);
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
        state.gaps.note_since(came, Why::Failed, batch.requests());
        self.gate.tally.failed.fetch_add(batch.requests(), Relaxed);
        self.gate.tally.queued.fetch_sub(batch.requests(), Relaxed);
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

impl<B: Batch> Pending<B> {
    /// How many bytes are used.
    fn filled(&self) -> usize {
        self.taken_bytes + self.batch.bytes() + self.reserved
    }
}

/// A queue, whatever its batches are.
pub(crate) trait AnyQueue {
    fn gate(&self) -> &Gate;

    /// Keeps this many bytes free for the end of a request that starts now. Returns whether there is room for it.
    fn reserve(&self, bytes: usize) -> bool;

    /// Gives back what was reserved.
    fn release(&self, bytes: usize);

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

    fn reserve(&self, bytes: usize) -> bool {
        Self::reserve(self, bytes)
    }

    fn release(&self, bytes: usize) {
        Self::release(self, bytes);
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
