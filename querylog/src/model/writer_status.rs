//! The processes that write into a store: what each reports of itself, and what a store has of it.

use uuid::Uuid;

use crate::model::time::Timestamp;

/// What a process that writes into a store reports of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterReport {
    /// The id of the writer: new for each log that is opened, except that a log with a spool keeps the id of the spool.
    pub id: Uuid,
    /// The name of the service.
    pub service: Option<String>,
    /// The instance of the service: the name of the machine, and the id of the process.
    pub instance: Option<String>,
    /// When this run of the writer started.
    pub started: Timestamp,
    /// Everything that was appended before this time is in the store.
    pub written_through: Timestamp,
    /// Everything that was appended before this time is in the store, or in the spool of the writer. In the first report
    /// of a run, this is before it [started](Self::started) if an earlier run ended without closing the log.
    pub kept_through: Timestamp,
    /// The number of requests that wait in the queue and the spool.
    pub waiting: u64,
    /// Whether the log is closed, so nothing more comes from this run.
    pub closed: bool,
    /// Whether the store looks for writers that are lost. It does not shortly after this writer could not reach the store
    /// itself, since the others may be about to report, too.
    pub finds_lost: bool,
}

impl WriterReport {
    /// Creates the report of a run that has started, and has written nothing yet.
    pub fn new(id: Uuid, started: Timestamp) -> Self {
        Self {
            id,
            service: None,
            instance: None,
            started,
            written_through: started,
            kept_through: started,
            waiting: 0,
            closed: false,
            finds_lost: true,
        }
    }

    /// Returns whether an earlier run ended without closing the log, as far as the writer knows.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn is_after_unclean_stop(&self) -> bool {
        self.kept_through < self.started
    }
}

/// A process that writes into a store, or did so within the last 30 days.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterStatus {
    /// The id of the writer.
    pub id: Uuid,
    /// The name of the service.
    pub service: Option<String>,
    /// The instance of the service: the name of the machine, and the id of the process.
    pub instance: Option<String>,
    /// When the latest run of the writer started.
    pub started: Timestamp,
    /// Everything that was appended before this time is in the store.
    pub written_through: Timestamp,
    /// When the writer last reported, by the clock of the store.
    pub seen: Timestamp,
    /// The number of requests that waited in the queue and the spool then.
    pub waiting: u64,
    /// Whether the writer still writes.
    pub state: WriterState,
}

impl WriterStatus {
    /// Creates the status of a writer that reported at a time, by the clock of the store.
    pub fn new(report: &WriterReport, seen: Timestamp) -> Self {
        Self {
            id: report.id,
            service: report.service.clone(),
            instance: report.instance.clone(),
            started: report.started,
            written_through: report.written_through,
            seen,
            waiting: report.waiting,
            state: if report.closed { WriterState::Closed } else { WriterState::Live },
        }
    }
}

/// Whether a writer still writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriterState {
    /// The writer has reported within the last 30 seconds.
    Live,
    /// The writer has closed its log.
    Closed,
    /// The writer has not reported for 30 seconds, and has not closed its log: its process was killed, or cannot reach
    /// the store.
    Lost,
}
