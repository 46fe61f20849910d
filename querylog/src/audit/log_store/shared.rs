//! What the writer thread and the replaying thread share: [`Shared`].

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::audit::log_store::entry;
use crate::audit::log_store::records::Records;
use crate::audit::log_store::sink::StoreSink;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::ack::{AppendError, Done, Written};
use crate::queue::batch::Moment;
use crate::queue::gate::Tally;
use crate::queue::spool::Acknowledge;
use crate::queue::spool::folder::{Position, SpoolFolder};
use crate::queue::spool::segment::Frame;

pub(super) struct Shared {
    state: Mutex<Spooling>,
    pub(super) changed: Condvar,
    pub(super) tally: Arc<Tally>,
    pub(super) acknowledge: Acknowledge,
    /// How long the store may take for a batch before that is spooled.
    pub(super) after: Duration,
}

pub(super) struct Spooling {
    pub(super) spool: SpoolFolder,
    pub(super) store: Place,
    /// The acknowledgements that are given when a frame is in the store.
    pub(super) unacknowledged: BTreeMap<Position, Unacknowledged>,
    /// The numbers of the records that the store rejected of the batch that is being replayed.
    pub(super) rejected: Vec<u64>,
    /// Those of it that cannot be read.
    pub(super) damaged: Vec<u64>,
    /// Set when the log is closed: until when replaying may take.
    pub(super) closing: Option<Closing>,
    /// Set when the log is closed: until when a store that is away is tried again.
    pub(super) attempts_end: Option<Instant>,
}

/// When replaying must end; `None` for whenever it does.
type Closing = Option<Instant>;

/// Who has the store.
pub(super) enum Place {
    /// The spool is empty, and the writer puts batches into the store.
    Writer(Box<StoreSink>),
    /// The spool is to be replayed.
    Waiting(Box<StoreSink>),
    /// A thread is using it.
    Taken,
    /// The log is closed.
    Gone,
}

/// The acknowledgements of a frame.
pub(super) struct Unacknowledged {
    /// The numbers of the records of each row.
    pub(super) numbers: Vec<Vec<u64>>,
    /// The numbers of the records that the store had rejected before.
    pub(super) rejected: Vec<u64>,
    /// Set for the last frame of a batch.
    pub(super) done: Option<Arc<Done>>,
}

impl Shared {
    pub(super) fn new(
        spool: SpoolFolder,
        store: Place,
        tally: Arc<Tally>,
        acknowledge: Acknowledge,
        after: Duration,
    ) -> Self {
        let state = Spooling::new(spool, store);
        Self { state: Mutex::new(state), changed: Condvar::new(), tally, acknowledge, after }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Spooling> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, Spooling>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, Spooling> {
        match limit {
            Some(limit) => self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Appends what is left to do of records to the spool. If this fails, what is appended until then counts as done.
    pub(super) fn spool(&self, state: &mut Spooling, records: &mut Records, taken: &Moment) -> io::Result<()> {
        let prepared = records.prepare();
        while let Some(range) = prepared.todo.last().cloned() {
            let mut frame = Frame { time: taken.time, requests: 0, payload: Vec::new() };
            let mut rows = 0;
            for (number, row) in range.clone().zip(&prepared.all()[range.clone()]) {
                entry::write_row(prepared.long.get(&number).unwrap_or(&row.record), row, &mut frame.payload)?;
                frame.requests += u32::from(row.ended);
                rows += 1;
                if frame.payload.len() >= state.spool.frame_bytes() {
                    break;
                }
            }
            let position = state.spool.append(&frame)?;
            self.tally.spooled.fetch_add(u64::from(frame.requests), Relaxed);
            let numbers = prepared.numbers_of(&(range.start..range.start + rows));
            prepared.spooled(rows);
            if self.acknowledge == Acknowledge::Stored {
                prepared.is_acknowledged_later = true;
                let done = prepared.todo.is_empty().then(|| Arc::clone(&taken.done));
                let rejected = if done.is_some() { prepared.rejected().numbers } else { Vec::new() };
                state.unacknowledged.insert(position, Unacknowledged { numbers, rejected, done });
            }
        }
        Ok(())
    }
}

impl Spooling {
    pub(super) fn new(spool: SpoolFolder, store: Place) -> Self {
        let unacknowledged = BTreeMap::new();
        Self {
            spool,
            store,
            unacknowledged,
            rejected: Vec::new(),
            damaged: Vec::new(),
            closing: None,
            attempts_end: None,
        }
    }

    /// Appends a gap to the spool, with its id, since the store may have it already.
    pub(super) fn spool_gap(&mut self, id: Uuid, gap: &Gap) -> io::Result<()> {
        let mut frame = Frame { time: Timestamp::MIN, requests: 0, payload: Vec::new() };
        entry::write_missing(id, gap, &mut frame.payload)?;
        self.spool.append(&frame).map(drop)
    }

    /// Gives the store to the writer, unless the log was closed without it.
    pub(super) fn give_back(&mut self, store: Box<StoreSink>) {
        self.note_known(&store);
        if !matches!(self.store, Place::Gone) {
            self.store = Place::Writer(store);
        }
    }

    /// What the store knows of earlier processes need not be kept here.
    pub(super) fn note_known(&mut self, store: &StoreSink) {
        if store.is_known
            && let Err(error) = self.spool.forget_unclean()
        {
            tracing::warn!(%error, "query log: failed to write the mark of the spool");
        }
    }

    /// Whether the log is closed, and its deadline is over.
    pub(super) fn is_late(&self) -> bool {
        self.closing.flatten().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// A frame is in the store, but for what is named: acknowledges its batch, if it is the last one.
    pub(super) fn settle(&mut self, waiting: Unacknowledged) {
        self.rejected.extend(waiting.rejected);
        let Some(done) = waiting.done else { return };
        let [mut rejected, mut damaged] = [&mut self.rejected, &mut self.damaged].map(std::mem::take);
        rejected.sort_unstable();
        damaged.sort_unstable();
        let failed = AppendError::Failed(io::ErrorKind::InvalidData);
        let result = if damaged.is_empty() { Ok(()) } else { Err(failed) };
        done.set(Written { result, rejected, unwritten: Some(damaged) });
    }

    /// The rest of a segment is damaged, from a position on.
    pub(super) fn settle_damaged(&mut self, (number, bytes): Position) {
        let mut later = self.unacknowledged.split_off(&(number, bytes));
        self.unacknowledged.append(&mut later.split_off(&(number + 1, 0)));
        for (_, waiting) in later {
            self.damaged.extend(waiting.numbers.iter().flatten());
            self.settle(waiting);
        }
    }

    /// Ends the wait of callers for the store, which is not reached any more: with an error.
    pub(super) fn release_waiting(&mut self) {
        for (_, waiting) in std::mem::take(&mut self.unacknowledged) {
            if let Some(done) = waiting.done {
                done.set(Written::all(Err(AppendError::Closed)));
            }
        }
    }
}
