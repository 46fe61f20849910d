//! The thread that writes: takes what is queued, and gives it to the files, or a store, until they have it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use memchr::memchr_iter;

use crate::files::disk::Disk;
use crate::files::folder::Found;
use crate::files::rolling::{Files, Roll};
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::ack::{AppendError, Done};
use crate::queue::pending::{Batch, Limits, Queue, Task};
use crate::wire::gap::write_gap;

/// How the writer works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) limits: Limits,
    pub(crate) roll: Roll,
    pub(crate) synced: bool,
    pub(crate) retry: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Where lines end up.
pub(crate) trait Sink: Send {
    /// Writes lines from `done` on, and moves it behind what is written.
    fn write(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()>;

    /// The numbers of the lines of this batch that are done without being written, since they are refused for good.
    fn take_refused(&mut self) -> Vec<u64> {
        Vec::new()
    }

    /// How long until there is something to do without lines.
    fn until_tick(&self, _now: Timestamp) -> Option<Duration> {
        None
    }

    /// Does it.
    fn tick(&mut self, _now: Timestamp) {}

    /// Ends; `has_all` where no line was given up.
    fn close(&mut self, _has_all: bool) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread, for files. What is returned second is told when the thread is gone.
pub(crate) fn start(disk: Box<dyn Disk>, found: Found, start: Start) -> io::Result<(Arc<Queue>, Arc<Done>)> {
    let files = Files::new(disk, start.roll, start.synced, found.newest);
    start_sink(Box::new(files), found.gap, start.limits, start.retry)
}

/// Starts the thread, for any sink.
pub(crate) fn start_sink(
    sink: Box<dyn Sink>,
    unclean: Option<Gap>,
    limits: Limits,
    retry: Duration,
) -> io::Result<(Arc<Queue>, Arc<Done>)> {
    let queue = Arc::new(Queue::new(limits));
    let ended = Arc::<Done>::default();
    let writer = Writer {
        queue: Arc::clone(&queue),
        sink,
        retry,
        unclean,
        fails: false,
        _ended: Ended { queue: Arc::clone(&queue), done: Arc::clone(&ended) },
    };
    thread::Builder::new().name("querylog-writer".into()).spawn(move || writer.run())?;
    Ok((queue, ended))
}

struct Writer {
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    retry: Duration,
    /// What the process before left, until it is written.
    unclean: Option<Gap>,
    /// Whether the last attempt failed: said once, not at each attempt.
    fails: bool,
    // Last, so that the files are closed and the folder is free when it is told.
    _ended: Ended,
}

/// Tells that the thread is gone, also by a panic.
struct Ended {
    queue: Arc<Queue>,
    done: Arc<Done>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.queue.abandon();
        self.done.tell(Ok(()));
    }
}

impl Writer {
    fn run(mut self) {
        if self.unclean.is_some() {
            self.write(Batch::default());
        }
        let wrote_all = loop {
            let tick = self.sink.until_tick(Timestamp::now()).and_then(|wait| Instant::now().checked_add(wait));
            match self.queue.next(tick) {
                Task::Write(batch) => self.write(*batch),
                Task::Tick => self.sink.tick(Timestamp::now()),
                Task::End { wrote_all } => break wrote_all,
            }
        };
        if let Err(error) = self.sink.close(wrote_all && self.unclean.is_none() && !self.fails) {
            tracing::error!(%error, "query log: not closed as it should be");
        }
    }

    fn write(&mut self, mut batch: Batch) {
        let records_end = batch.lines.len();
        let mut result = self.add_gaps(&mut batch).map_err(|error| error.kind());
        let mut done = 0;
        if result.is_ok() {
            result = self.write_lines(&batch.lines, &mut done);
        }
        let lost = lines_in(&batch.lines[done.min(records_end)..records_end]);
        let mut gaps = lines_in(&batch.lines[records_end..done.max(records_end)]);
        if gaps > 0 && self.unclean.take().is_some() {
            gaps -= 1;
        }
        batch.gaps.forget_first(gaps);
        batch.lines.truncate(records_end);
        let refused = self.sink.take_refused();
        self.queue.finish(batch, result.map_err(AppendError::Failed), lost as u64, refused);
    }

    /// Puts what is known to be missing behind the records.
    fn add_gaps(&self, batch: &mut Batch) -> io::Result<()> {
        self.unclean.iter().chain(batch.gaps.iter()).try_for_each(|gap| write_gap(gap, &mut batch.lines))
    }

    /// Tries, and tries again, until all is written or it takes too long.
    fn write_lines(&mut self, lines: &[u8], done: &mut usize) -> Result<(), io::ErrorKind> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.sink.write(lines, done) {
            if !std::mem::replace(&mut self.fails, true) {
                tracing::error!(%error, "query log: cannot be written; the writer tries again");
            }
            if begin.elapsed() >= self.retry || !self.queue.pause(pause) {
                return Err(error.kind());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if std::mem::replace(&mut self.fails, false) {
            tracing::info!("query log: written again");
        }
        Ok(())
    }
}

pub(crate) fn lines_in(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}
