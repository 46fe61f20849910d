//! Replaying a spool into its store: [`replay`].

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::audit::log_store::entry;
use crate::audit::log_store::records::Records;
use crate::audit::log_store::shared::{Place, Shared, Spooling};
use crate::audit::log_store::sink::StoreSink;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::batch::Batch;
use crate::queue::spool::folder::{Damaged, Position};
use crate::store::StoreError;

/// How long the store may take for a part of the spool.
const LIMIT: Duration = Duration::from_secs(30);
/// How many bytes are replayed at once, about.
const PART: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Writes what is in the spool to the store, whenever there is something, until the log is closed.
pub(super) fn replay(shared: &Shared) {
    loop {
        let mut state = shared.lock();
        let store = loop {
            match std::mem::replace(&mut state.store, Place::Taken) {
                Place::Waiting(store) => break store,
                Place::Gone => {
                    state.store = Place::Gone;
                    return;
                }
                other => state.store = other,
            }
            state = shared.wait(state, None);
        };
        drop(state);
        Replay { shared, store }.run();
    }
}

struct Replay<'a> {
    shared: &'a Shared,
    store: Box<StoreSink>,
}

/// Some frames of the spool, and what they have.
#[derive(Default)]
pub(super) struct Part {
    records: Records,
    pub(super) gaps: Vec<(Uuid, Gap)>,
    through: Timestamp,
    /// How many requests the frames have,
    requests: u64,
    /// and how many of them cannot be read.
    unreadable: u64,
    /// The id of the gap for records that the store rejects.
    rejection: Option<Uuid>,
    /// How many requests were in parts of the spool that are damaged.
    lost: u64,
    /// Where each frame was, and how many records it has; `None` for the damaged rest of a segment.
    frames: Vec<(Position, Option<usize>)>,
}

impl Replay<'_> {
    /// Replays until the spool is empty, and gives the store to the writer; or, if the log is closed, until the deadline
    /// or the first failure.
    fn run(mut self) {
        self.store.limit = Some(LIMIT);
        loop {
            let mut state = self.shared.lock();
            let is_replayed = match read(&mut state) {
                Ok(Some(part)) => {
                    drop(state);
                    self.write(part)
                }
                Ok(None) => {
                    state.spool.remove_read();
                    tracing::info!("query log: the spool is empty; records are written to the store again");
                    self.store.limit = Some(self.shared.after);
                    state.give_back(self.store);
                    break;
                }
                Err(error) => {
                    drop(state);
                    tracing::error!(%error, "query log: failed to read the spool");
                    self.pause(LONGEST_PAUSE)
                }
            };
            let mut state = self.shared.lock();
            if !is_replayed || state.is_late() {
                state.store = Place::Gone;
                break;
            }
        }
        self.shared.changed.notify_all();
    }

    /// Writes a part, however long it takes. Returns whether it is written: it is not if the log is closed meanwhile, and the
    /// store does not come back soon.
    fn write(&mut self, mut part: Part) -> bool {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.try_write(&mut part) {
            if pause == FIRST_PAUSE {
                tracing::warn!(%error, "query log: the store is still away; retrying");
            }
            if !self.pause(pause) {
                return false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.finish(&part);
        true
    }

    fn try_write(&mut self, part: &mut Part) -> Result<(), StoreError> {
        self.store.write_records(&mut part.records, part.through, false)?;
        let rejected = part.records.progress().rejected.requests;
        if rejected > 0 {
            let id = part.rejection.get_or_insert_with(Uuid::new_v4);
            self.store.put_gap(*id, &Gap::rejected(part.through, rejected))?;
        }
        while let Some((id, gap)) = part.gaps.last() {
            self.store.put_gap(*id, gap)?;
            part.gaps.pop();
        }
        Ok(())
    }

    /// A part is in the store: counts and acknowledges its requests, and removes it from the spool.
    fn finish(&self, part: &Part) {
        let rejected = part.records.progress().rejected;
        let tally = &self.shared.tally;
        let missing = (rejected.requests + part.unreadable).min(part.requests);
        tally.spooled.fetch_sub(part.requests + part.lost, Relaxed);
        tally.written.fetch_add(part.requests - missing, Relaxed);
        tally.failed.fetch_add(missing + part.lost, Relaxed);
        let mut state = self.shared.lock();
        state.spool.remove_read();
        state.note_known(&self.store);
        let mut first = 0;
        for (position, records) in &part.frames {
            let Some(records) = *records else {
                state.settle_damaged(*position);
                continue;
            };
            if let Some(waiting) = state.unacknowledged.remove(position) {
                let rows = (first..).zip(&waiting.numbers).filter(|(row, _)| rejected.numbers.contains(row));
                state.rejected.extend(rows.flat_map(|(_, numbers)| numbers));
                state.settle(waiting);
            }
            first += records as u64;
        }
    }

    /// Waits before the next attempt. Returns whether there is one: not if the log has been closed for some time.
    fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut state = self.shared.lock();
        loop {
            let now = Instant::now();
            match state.attempts_end {
                Some(last) if last <= now => return false,
                _ if end <= now => return true,
                last => {
                    let until = last.map_or(end, |last| last.min(end));
                    state = self.shared.wait(state, Some(until - now));
                }
            }
        }
    }
}

/// Reads some frames; `None` if there are none.
pub(super) fn read(state: &mut Spooling) -> io::Result<Option<Part>> {
    let mut part = Part::default();
    let mut bytes = 0;
    let mut records = Vec::new();
    while bytes < PART {
        let read = match state.spool.read() {
            // What was read before must not be lost: this error comes again.
            Err(_) if !part.is_empty() => break,
            read => read?,
        };
        match read {
            None => break,
            Some(Ok((position, frame))) => {
                bytes += frame.payload.len();
                let read = entry::read(&frame.payload);
                part.frames.push((position, Some(read.records.len())));
                part.requests += u64::from(frame.requests);
                part.through = part.through.max(frame.time);
                part.add_unreadable(read.unreadable, position, frame.time);
                records.extend(read.records);
                part.gaps.extend(read.gaps);
            }
            Some(Err(Damaged { position, from, to, requests })) => {
                part.frames.push((position, None));
                part.lost += requests;
                let id = entry::id_of(format!("damaged {position:?} {from}").as_bytes());
                part.gaps.push((id, Gap::damaged_spool(from, to, (requests > 0).then_some(requests))));
            }
        }
    }
    part.records = Records::of(records);
    Ok((!part.is_empty()).then_some(part))
}

impl Part {
    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.gaps.is_empty()
    }

    /// Some lines cannot be read, in a frame that was written at a time.
    fn add_unreadable(&mut self, lines: u64, position: Position, time: Timestamp) {
        if lines > 0 {
            self.unreadable += lines;
            let id = entry::id_of(format!("unreadable {position:?} {time}").as_bytes());
            self.gaps.push((id, Gap::damaged_spool(time, time, Some(lines))));
        }
    }
}
