//! The writer thread, which takes batches from the queue and writes them to the sink.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::model::gap::{Gap, Gaps};
use crate::model::time::Timestamp;
use crate::queue::ack::AppendError;
use crate::queue::batch::{Batch, Sink};
use crate::queue::gate::Gate;
use crate::queue::pending::Queue;
use crate::queue::task::{Taken, Task};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Starts the thread, and returns its queue. `unclean` is the gap after an unclean stop of the previous process.
pub(crate) fn start<S: Sink>(sink: S, unclean: Option<Gap>, gate: Gate) -> io::Result<Arc<Queue<S::Batch>>> {
    let queue = Arc::new(Queue::new(gate));
    let ended = Ended(Arc::clone(&queue));
    let writer = Writer {
        queue: Arc::clone(&queue),
        sink,
        unclean: unclean.map(|gap| (Uuid::new_v4(), gap)),
        fails: false,
        _ended: ended,
    };
    thread::Builder::new().name("querylog-writer".into()).spawn(move || writer.run())?;
    Ok(queue)
}

struct Writer<S: Sink> {
    queue: Arc<Queue<S::Batch>>,
    sink: S,
    /// The gap after an unclean stop, until it is written.
    unclean: Option<(Uuid, Gap)>,
    /// Whether the last attempt failed: logged once, not at each attempt.
    fails: bool,
    // Last, so that the files are closed and the folder is free when it is dropped.
    _ended: Ended<S::Batch>,
}

/// Marks the queue when the thread ends, even by a panic.
struct Ended<B: Batch>(Arc<Queue<B>>);

impl<B: Batch> Drop for Ended<B> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl<S: Sink> Writer<S> {
    fn run(mut self) {
        let _ = self.write_unclean();
        let (wrote_all, deadline) = loop {
            let tick = self.sink.until_tick(Timestamp::now()).and_then(|wait| Instant::now().checked_add(wait));
            match self.queue.next(tick) {
                Task::Write(taken) => self.write(*taken),
                Task::Tick => self.sink.tick(Timestamp::now()),
                Task::End { wrote_all, deadline } => break (wrote_all, deadline),
            }
        };
        if !wrote_all {
            // One attempt: it is late already.
            for (id, gap) in self.queue.drop_queued().iter() {
                if let Err(error) = self.sink.write_gap(*id, gap) {
                    tracing::error!(%error, %gap, "query log: failed to write what is missing");
                    break;
                }
            }
        }
        if let Err(error) = self.sink.close(wrote_all && self.unclean.is_none() && !self.fails, deadline) {
            tracing::error!(%error, "query log: failed to close");
        }
    }

    fn write(&mut self, mut taken: Taken<S::Batch>) {
        let mut result = Ok(());
        if taken.batch.len() > 0 {
            let Taken { batch, moment, .. } = &mut taken;
            result = self.until_written(|sink| sink.write(batch, moment));
        }
        if result.is_ok() {
            // Gaps that are not written return to the queue, and are written with a later batch.
            let _ = self.write_gaps(&mut taken.gaps);
        }
        self.queue.finish(taken, result.map_err(AppendError::Failed));
    }

    fn write_unclean(&mut self) -> Result<(), io::ErrorKind> {
        if let Some((id, gap)) = self.unclean.take()
            && let Err(error) = self.until_written(|sink| sink.write_gap(id, &gap))
        {
            self.unclean = Some((id, gap));
            return Err(error);
        }
        Ok(())
    }

    fn write_gaps(&mut self, gaps: &mut Gaps) -> Result<(), io::ErrorKind> {
        self.write_unclean()?;
        while let Some((id, gap)) = gaps.first() {
            self.until_written(|sink| sink.write_gap(*id, gap))?;
            gaps.forget_first();
        }
        Ok(())
    }

    /// Retries until a write succeeds, or it is too late because the log is closed.
    fn until_written(&mut self, mut write: impl FnMut(&mut S) -> io::Result<()>) -> Result<(), io::ErrorKind> {
        let is_unusable = &self.queue.gate.tally.is_unusable;
        let mut pause = FIRST_PAUSE;
        while let Err(error) = write(&mut self.sink) {
            is_unusable.store(error.kind() == io::ErrorKind::Unsupported, Relaxed);
            if !std::mem::replace(&mut self.fails, true) {
                tracing::error!(%error, "query log: failed to write; retrying");
            }
            if !self.queue.pause(pause) {
                return Err(error.kind());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if std::mem::replace(&mut self.fails, false) {
            is_unusable.store(false, Relaxed);
            tracing::info!("query log: writing succeeds again");
        }
        Ok(())
    }
}
