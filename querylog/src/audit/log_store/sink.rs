//! Writing rows to a store: [`StoreSink`].

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use uuid::Uuid;

use crate::audit::log::AuditLog;
use crate::audit::log_store::entry;
use crate::audit::log_store::records::{Prepared, Records};
use crate::audit::log_store::set_aside::set_aside;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::batch::{Moment, Sink};
use crate::queue::gate::Tally;
use crate::queue::spool::mark::Unclean;
use crate::store::{Row, StoreError, WriterReport};

/// How often a writer reports.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(5);
/// After so long without a failure, a writer looks for others that are lost: they have had the time to report, too.
const STEADY: Duration = Duration::from_secs(30);
/// How long the end of a log waits for what runs on its runtime.
const GRACE: Duration = Duration::from_secs(5);

pub(super) struct StoreSink {
    log: AuditLog,
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
    tally: Arc<Tally>,
    report: WriterReport,
    /// When the next report is due.
    next_report: Instant,
    /// Whether the store knows of this run, and of the gaps before it.
    pub(super) is_known: bool,
    /// Gaps that it does not know of.
    unclean: Vec<(Uuid, Gap)>,
    /// Since when the store has not failed.
    steady_since: Instant,
    /// Where records are set aside that the store rejects.
    rejected: Option<PathBuf>,
    /// How long a call may take; if it takes longer, it counts as failed. `None` for as long as the store allows.
    pub(super) limit: Option<Duration>,
}

impl StoreSink {
    /// Records that the store rejects are set aside in the file `rejected`. `unclean` are the earlier processes that the
    /// store does not know of; `report` has the first of them.
    pub(super) fn new(
        log: AuditLog,
        runtime: Runtime,
        tally: Arc<Tally>,
        report: WriterReport,
        unclean: &[Unclean],
        rejected: Option<PathBuf>,
    ) -> Self {
        let gap_of = |unclean: &Unclean| {
            let id = entry::id_of(format!("unclean {} {}", report.id, unclean.from).as_bytes());
            (id, Gap::unclean_stop(unclean.from, unclean.to))
        };
        Self {
            unclean: unclean.iter().skip(1).map(gap_of).collect(),
            log,
            runtime: Some(runtime),
            tally,
            report,
            next_report: Instant::now(),
            is_known: false,
            steady_since: Instant::now(),
            rejected,
            limit: None,
        }
    }

    /// Runs a future to its end, or to the limit.
    fn wait<T>(&self, future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let Some(runtime) = &self.runtime else { return Err(StoreError::Closed) };
        caught(|| {
            let Some(limit) = self.limit else { return runtime.block_on(future) };
            let limited = runtime.block_on(async { tokio::time::timeout(limit, future).await });
            limited.unwrap_or_else(|_| Err(StoreError::failed(format!("it took longer than {limit:?}"))))
        })
    }

    /// Reports that everything is in the store that was appended before `through`. The first report says what the run
    /// before had kept.
    fn report(&mut self, through: Timestamp) -> Result<(), StoreError> {
        let mut report = if self.is_known { self.report_of(through) } else { self.report.clone() };
        report.finds_lost = self.steady_since.elapsed() >= STEADY;
        while let Some((id, gap)) = self.unclean.last() {
            self.put_gap(*id, gap)?;
            self.unclean.pop();
        }
        self.wait(self.log.store().report(&report))?;
        (self.report, self.is_known) = (report, true);
        self.next_report = Instant::now() + REPORT_EVERY;
        Ok(())
    }

    fn report_of(&self, through: Timestamp) -> WriterReport {
        let mut report = self.report.clone();
        // Not after now, if the clock went backwards: what comes now is not written yet.
        let now = Timestamp::now();
        report.written_through = report.written_through.max(through).min(now);
        report.kept_through = report.kept_through.max(through).min(now);
        report.waiting = self.tally.queued.load(Relaxed) + self.tally.spooled.load(Relaxed);
        report
    }

    /// The store has failed: it gets a report before anything else.
    fn failed(&mut self) {
        (self.next_report, self.steady_since) = (Instant::now(), Instant::now());
    }

    /// Puts rows that are ready. If the store rejects them, each half on its own, so that all are put but those that it
    /// rejects alone.
    fn put(&mut self, prepared: &mut Prepared, through: Timestamp) -> Result<(), StoreError> {
        if let Some(row) = prepared.rows.first().filter(|_| self.report.service.is_none()) {
            self.report.service.clone_from(&row.service);
        }
        if !self.is_known || self.next_report <= Instant::now() {
            self.report(self.report.written_through)?;
        }
        let Prepared { rows, todo, rejected, .. } = prepared;
        while let Some(range) = todo.pop() {
            let some: Arc<[Row]> =
                if range.len() == rows.len() { Arc::clone(rows) } else { rows[range.clone()].into() };
            let through = if todo.is_empty() { through } else { self.report.written_through };
            let report = self.report_of(through);
            match self.put_some(&some, &report) {
                Ok(()) => self.report = report,
                Err(StoreError::Rejected(_)) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    todo.extend([middle..range.end, range.start..middle]);
                }
                Err(StoreError::Rejected(why)) => {
                    set_aside(self.rejected.as_deref(), &rows[range.start], &*why);
                    rejected.extend(range);
                }
                Err(error) => {
                    todo.push(range);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn put_some(&self, rows: &Arc<[Row]>, report: &WriterReport) -> Result<(), StoreError> {
        let (store, report) = (self.log.store(), Some(report));
        match (&self.runtime, self.limit) {
            (Some(runtime), None) => caught(|| store.put_blocking(rows, report, runtime.handle())),
            _ => self.wait(store.put(Arc::clone(rows), report)),
        }
    }

    /// Writes what is unwritten of records. If it may be spooled, the records keep the long values that are moved to the
    /// object store meanwhile.
    pub(super) fn write_records(
        &mut self,
        records: &mut Records,
        through: Timestamp,
        may_be_spooled: bool,
    ) -> Result<(), StoreError> {
        let prepared = records.prepare();
        if !prepared.making.is_empty() {
            let backend = self.log.backend();
            if may_be_spooled {
                for (number, row) in prepared.making.iter().enumerate().filter(|(_, row)| backend.moves(row)) {
                    // At the first attempt it is whole.
                    prepared.long.entry(number).or_insert_with(|| row.record.clone());
                }
            }
            self.wait(backend.take_out(&mut prepared.making))?;
            prepared.rows = std::mem::take(&mut prepared.making).into();
        }
        let result = self.put(prepared, through);
        if result.is_err() {
            self.failed();
        }
        self.tally.is_unusable.store(matches!(result, Err(StoreError::Unusable(_))), Relaxed);
        result
    }

    pub(super) fn put_gap(&self, id: Uuid, gap: &Gap) -> Result<(), StoreError> {
        self.wait(self.log.store().put_gap(id, gap))
    }

    /// Reports that the log is closed.
    pub(super) fn report_closed(&mut self, through: Timestamp) -> Result<(), StoreError> {
        self.report.closed = true;
        self.report(through)
    }
}

/// A store that panics has failed. The thread that calls it lives on, since nobody else writes the records.
fn caught<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(StoreError::failed("the store panicked")))
}

/// An error that never passes is `Unsupported`.
pub(super) fn io_error(error: StoreError) -> io::Error {
    match error {
        StoreError::Unusable(_) => io::Error::new(io::ErrorKind::Unsupported, error),
        error => io::Error::other(error),
    }
}

impl Sink for StoreSink {
    type Batch = Records;

    fn write(&mut self, records: &mut Records, taken: &Moment) -> io::Result<()> {
        self.write_records(records, taken.time, false).map_err(io_error)
    }

    fn write_gap(&mut self, id: Uuid, gap: &Gap) -> io::Result<()> {
        self.put_gap(id, gap).map_err(io_error)
    }

    fn until_tick(&self, _now: Timestamp) -> Option<Duration> {
        Some(self.next_report.saturating_duration_since(Instant::now()))
    }

    /// Reports that this writer lives. If that fails, the next batch shows it.
    fn tick(&mut self, now: Timestamp) {
        if let Err(error) = self.report(now) {
            tracing::debug!(%error, "query log: failed to report to the store");
            self.failed();
            self.next_report += REPORT_EVERY;
        }
    }

    fn close(&mut self, has_all: bool, _deadline: Option<Instant>) -> io::Result<()> {
        if has_all { self.report_closed(Timestamp::now()).map_err(io_error) } else { Ok(()) }
    }
}

/// What runs on the runtime, such as the upload of a long value, ends before the log counts as closed.
impl Drop for StoreSink {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if Handle::try_current().is_err() {
            runtime.shutdown_timeout(GRACE);
        } else {
            // In an async function a runtime cannot be waited for.
            runtime.shutdown_background();
        }
    }
}
