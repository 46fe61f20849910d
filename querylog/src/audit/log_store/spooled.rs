//! A store with a spool before it, as the writer thread sees it: [`SpooledSink`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::audit::log_store::records::Records;
use crate::audit::log_store::replay::replay;
use crate::audit::log_store::shared::{Place, Shared, Spooling};
use crate::audit::log_store::sink::{REPORT_EVERY, StoreSink, io_error};
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::batch::{Moment, Sink};
use crate::queue::gate::Tally;
use crate::queue::spool::Acknowledge;
use crate::queue::spool::folder::SpoolFolder;
use crate::store::StoreError;

/// For how long a store that is away is tried again when the log is closed: it may have come back just now.
const LAST_ATTEMPTS: Duration = Duration::from_secs(3);

/// Writes to the store while it keeps up, and else to the spool.
pub(super) struct SpooledSink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl SpooledSink {
    /// Starts the thread that replays. `requests` are in the spool already.
    pub(super) fn start(
        mut store: StoreSink,
        spool: SpoolFolder,
        requests: u64,
        after: Duration,
        acknowledge: Acknowledge,
        tally: Arc<Tally>,
    ) -> io::Result<Self> {
        tally.spooled.store(requests, Relaxed);
        store.limit = Some(after);
        let store = Box::new(store);
        let place = if spool.is_empty() { Place::Writer(store) } else { Place::Waiting(store) };
        let shared = Arc::new(Shared::new(spool, place, tally, acknowledge, after));
        let replaying = Arc::clone(&shared);
        let thread = thread::Builder::new().name("querylog-replay".into()).spawn(move || replay(&replaying))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes the store, if the writer may use it.
    fn take_store(&self) -> Option<Box<StoreSink>> {
        let mut state = self.shared.lock();
        if !matches!(state.store, Place::Writer(_)) {
            return None;
        }
        match std::mem::replace(&mut state.store, Place::Taken) {
            Place::Writer(store) => Some(store),
            _ => None,
        }
    }

    /// The store takes no more for now: what comes is spooled until it does.
    fn fall_back(
        &self,
        error: &StoreError,
        store: Box<StoreSink>,
        spool: impl FnOnce(&mut Spooling) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.shared.lock();
        let spooled = spool(&mut state);
        if state.spool.is_empty() {
            // Nothing could be spooled.
            state.store = Place::Writer(store);
        } else {
            tracing::warn!(%error, "query log: the store is away; records are written to the spool");
            state.store = Place::Waiting(store);
            self.shared.changed.notify_all();
        }
        spooled
    }
}

impl Sink for SpooledSink {
    type Batch = Records;

    fn write(&mut self, records: &mut Records, taken: &Moment) -> io::Result<()> {
        let Some(mut store) = self.take_store() else {
            return self.shared.spool(&mut self.shared.lock(), records, taken);
        };
        match store.write_records(records, taken.time, true) {
            Ok(()) => {
                let mut state = self.shared.lock();
                state.give_back(store);
                // If an earlier attempt has spooled some of them, these are in the store by now, too.
                records.stored(std::mem::take(&mut state.rejected));
                Ok(())
            }
            Err(error) => self.fall_back(&error, store, |state| self.shared.spool(state, records, taken)),
        }
    }

    fn write_gap(&mut self, id: Uuid, gap: &Gap) -> io::Result<()> {
        let Some(store) = self.take_store() else {
            return self.shared.lock().spool_gap(id, gap);
        };
        match store.put_gap(id, gap) {
            Ok(()) => {
                self.shared.lock().give_back(store);
                Ok(())
            }
            Err(error) => self.fall_back(&error, store, |state| state.spool_gap(id, gap)),
        }
    }

    fn until_tick(&self, now: Timestamp) -> Option<Duration> {
        match &self.shared.lock().store {
            Place::Writer(store) => store.until_tick(now),
            // The thread that replays reports. This one does so again when it has the store back.
            _ => Some(REPORT_EVERY),
        }
    }

    fn tick(&mut self, now: Timestamp) {
        if let Some(mut store) = self.take_store() {
            store.tick(now);
            self.shared.lock().give_back(store);
        }
    }

    /// Replays until the deadline, as long as the store takes it. What is left is in the spool, for the next process.
    fn close(&mut self, has_all: bool, deadline: Option<Instant>) -> io::Result<()> {
        let mut state = self.shared.lock();
        let last = Instant::now() + LAST_ATTEMPTS;
        state.attempts_end = Some(deadline.map_or(last, |deadline| deadline.min(last)));
        state.closing = Some(deadline);
        self.shared.changed.notify_all();
        while matches!(state.store, Place::Waiting(_) | Place::Taken) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            state = self.shared.wait(state, left);
        }
        state.release_waiting();
        let marked = if has_all { state.spool.mark_closed() } else { Ok(()) };
        let store = std::mem::replace(&mut state.store, Place::Gone);
        drop(state);
        self.shared.changed.notify_all();
        if let Place::Writer(mut store) = store {
            if has_all {
                store.limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                store.report_closed(Timestamp::now()).map_err(io_error)?;
            }
            // With the store at hand, the thread has ended or is about to.
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
        marked
    }
}

/// If the writer thread panics, the one that replays ends too, and the spool is free.
impl Drop for SpooledSink {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing.get_or_insert_with(|| Some(Instant::now()));
        state.attempts_end.get_or_insert_with(Instant::now);
        state.release_waiting();
        let store = std::mem::replace(&mut state.store, Place::Gone);
        drop(state);
        self.shared.changed.notify_all();
        drop(store);
    }
}
