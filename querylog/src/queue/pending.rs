//! The queue between those who append and the writer: one buffer that is filled while the writer has the other.
//!
//! Appending is a lock and a copy. The writer takes all there is, which makes a batch; while it is busy with the disk
//! the next batch grows. Lines in both buffers count against the limit.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::model::gap::{Gaps, Why};
use crate::model::time::Timestamp;
use crate::queue::ack::{AppendError, Done};

/// How much is queued, and how it is gathered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of lines, at most.
    pub(crate) queue: usize,
    /// A batch is written when it has so many bytes,
    pub(crate) batch: usize,
    /// or its first record is so old.
    pub(crate) linger: Duration,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// The writer waits for this.
    work: Condvar,
    /// Requests that wait for room wait for this.
    room: Notify,
    limits: Limits,
    /// Bytes in both buffers: written under the lock, read without.
    filled: AtomicUsize,
    pub(crate) tally: Tally,
}

/// What became of the records.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) written: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) open: AtomicU64,
}

#[derive(Debug)]
struct State {
    lines: Vec<u8>,
    records: u64,
    /// When the first of the lines came,
    since: Instant,
    /// and what the clock showed then.
    came: Timestamp,
    batch: Arc<Done>,
    gaps: Gaps,
    /// Bytes that the writer has.
    taken: usize,
    writer: Writer,
    /// Until when the writer may take to drain.
    closing: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// Waits for a first record.
    Idle,
    /// Waits for a batch to grow.
    Gathering,
    /// Writes, or has been woken.
    Busy,
}

/// What the writer is to do.
pub(crate) enum Task {
    Write(Box<Batch>),
    /// It is the time that was named.
    Tick,
    /// The log is closed, and all is written or it is too late.
    End {
        wrote_all: bool,
    },
}

/// Lines to write, and whom to tell.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<u8>,
    pub(crate) records: u64,
    /// When the first of the lines came, where there are any.
    pub(crate) came: Option<Timestamp>,
    pub(crate) gaps: Gaps,
    pub(crate) done: Arc<Done>,
}

/// Buffers that grew larger than this are given back when they are little used.
const KEPT_CAPACITY: usize = 1 << 20;

/// Where the writer panics with a batch in hand, those who wait are not left waiting.
impl Drop for Batch {
    fn drop(&mut self) {
        self.done.tell(Err(AppendError::Closed));
    }
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        let state = State {
            lines: Vec::new(),
            records: 0,
            since: Instant::now(),
            came: Timestamp::now(),
            batch: Arc::default(),
            gaps: Gaps::default(),
            taken: 0,
            writer: Writer::Busy,
            closing: None,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Notify::new(),
            limits,
            filled: AtomicUsize::new(0),
            tally: Tally::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one line. Returns its batch, and its number there.
    #[inline]
    pub(crate) fn push(&self, line: &[u8]) -> Result<(Arc<Done>, u64), AppendError> {
        let mut state = self.lock();
        let filled = state.taken + state.lines.len() + line.len();
        let refusal = match () {
            () if state.closing.is_some() => Some((Why::Closed, AppendError::Closed)),
            () if line.len() > self.limits.queue => Some((Why::TooLarge, AppendError::TooLarge)),
            () if filled > self.limits.queue => Some((Why::Overload, AppendError::Shed)),
            () => None,
        };
        if let Some((why, fault)) = refusal {
            self.tally.shed.fetch_add(1, Relaxed);
            state.gaps.note(why, 1);
            self.wake_writer(state);
            return Err(fault);
        }
        if state.records == 0 {
            (state.since, state.came) = (Instant::now(), Timestamp::now());
        }
        state.grow_for(line.len(), self.limits.queue);
        state.lines.extend_from_slice(line);
        let number = state.records;
        state.records += 1;
        self.tally.queued.fetch_add(1, Relaxed);
        self.filled.store(filled, Relaxed);
        let batch = Arc::clone(&state.batch);
        self.wake_writer(state);
        Ok((batch, number))
    }

    /// Counts a request that was answered with 503 since the queue is full.
    pub(crate) fn refuse(&self) {
        self.tally.refused.fetch_add(1, Relaxed);
        let mut state = self.lock();
        state.gaps.note(Why::Refused, 1);
        self.wake_writer(state);
    }

    /// Counts a record that could not be made into a line.
    #[cold]
    pub(crate) fn fail(&self, kind: ErrorKind) -> AppendError {
        self.tally.failed.fetch_add(1, Relaxed);
        let mut state = self.lock();
        state.gaps.note(Why::Failed, 1);
        self.wake_writer(state);
        AppendError::Failed(kind)
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let wakes = match state.writer {
            Writer::Idle => true,
            Writer::Gathering => state.lines.len() >= self.limits.batch,
            Writer::Busy => false,
        };
        if wakes {
            state.writer = Writer::Busy;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Whether a request that begins now is to wait. The last quarter of the queue is for the requests that run
    /// already, so that those which are let in find room when they end.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.filled.load(Relaxed) > self.limits.queue / 4 * 3
    }

    /// Waits until the queue is not full.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.room.notified();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }

    /// Waits for the writer's next task, at most until `tick`.
    pub(crate) fn next(&self, tick: Option<Instant>) -> Task {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let empty = state.records == 0 && state.gaps.is_empty();
            let (doing, until) = match (empty, state.closing) {
                (true, Some(_)) => return Task::End { wrote_all: true },
                (false, Some(deadline)) if deadline <= now => return Task::End { wrote_all: false },
                (true, None) if tick.is_some_and(|tick| tick <= now) => return Task::Tick,
                (true, None) => (Writer::Idle, tick),
                (false, Some(_)) => break,
                (false, None) => (Writer::Gathering, state.since.checked_add(self.limits.linger)),
            };
            if doing == Writer::Gathering
                && (state.lines.len() >= self.limits.batch || until.is_none_or(|until| until <= now))
            {
                break;
            }
            state.writer = doing;
            state = self.wait(state, until.map(|until| until - now));
        }
        state.writer = Writer::Busy;
        state.taken = state.lines.len();
        let batch = Batch {
            came: (state.records > 0).then_some(state.came),
            lines: std::mem::take(&mut state.lines),
            records: std::mem::take(&mut state.records),
            gaps: std::mem::take(&mut state.gaps),
            done: std::mem::take(&mut state.batch),
        };
        Task::Write(Box::new(batch))
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Option<Duration>) -> MutexGuard<'a, State> {
        match limit {
            Some(limit) => self.work.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The batch is written, or given up: so many of its records are not in the log, neither are those of the numbers
    /// that are refused, and neither are `gaps`.
    pub(crate) fn finish(&self, mut batch: Batch, result: Result<(), AppendError>, lost: u64, refused: Vec<u64>) {
        let mut lines = std::mem::take(&mut batch.lines);
        let missing = lost + refused.len() as u64;
        // They are missed from then on, and not only since they were given up.
        let from = batch.came.unwrap_or(Timestamp::MAX);
        self.tally.written.fetch_add(batch.records - missing, Relaxed);
        self.tally.failed.fetch_add(missing, Relaxed);
        self.tally.queued.fetch_sub(batch.records, Relaxed);
        if lines.capacity() > KEPT_CAPACITY && lines.len() < lines.capacity() / 4 {
            lines = Vec::new();
        }
        lines.clear();
        {
            let mut state = self.lock();
            state.taken = 0;
            state.gaps.merge(std::mem::take(&mut batch.gaps));
            if lost > 0 {
                state.gaps.note_since(from, Why::Failed, lost);
            }
            if !refused.is_empty() {
                state.gaps.note_since(from, Why::NotTaken, refused.len() as u64);
            }
            if state.lines.capacity() == 0 {
                state.lines = lines;
            }
            self.filled.store(state.lines.len(), Relaxed);
        }
        batch.done.tell_without(refused, result);
        self.room.notify_waiters();
    }

    /// Waits before the writer tries again. Whether it may: not when the log is to be closed by now.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.closing.is_some_and(|deadline| deadline <= now) {
                return false;
            }
            let until = state.closing.map_or(end, |deadline| deadline.min(end));
            if end <= now {
                return true;
            }
            state = self.wait(state, Some(until - now));
        }
    }

    /// Takes no more records. The writer may take until `deadline` to write those there are.
    pub(crate) fn close(&self, deadline: Instant) {
        let mut state = self.lock();
        if state.closing.is_none() {
            let open = self.tally.open.load(Relaxed);
            if open > 0 {
                state.gaps.note(Why::Open, open);
            }
        }
        state.closing = Some(state.closing.map_or(deadline, |earlier| earlier.min(deadline)));
        drop(state);
        self.work.notify_one();
    }

    /// The writer is gone: whoever waits for a batch learns that it is not written.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closing.get_or_insert_with(Instant::now);
        state.batch.tell(Err(AppendError::Closed));
    }
}

impl State {
    /// Doubles the buffer, and never beyond the limit.
    fn grow_for(&mut self, more: usize, limit: usize) {
        let needed = self.lines.len() + more;
        if needed > self.lines.capacity() {
            let capacity = (self.lines.capacity() * 2).clamp(needed, limit.max(needed)).max(4096.min(limit));
            self.lines.reserve_exact(capacity.max(needed) - self.lines.len());
        }
    }
}
