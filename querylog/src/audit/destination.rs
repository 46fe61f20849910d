//! A query log whose records go to an audit log: begun when the request begins, completed when it ends.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};

use crate::audit::log::AuditLog;
use crate::audit::requests::keys_of;
use crate::files::settings::room_for_a_record;
use crate::model::audit_record::AuditRecord;
use crate::model::record::Record;
use crate::queue::log::{Encode, QueryLog};
use crate::queue::overload::Overload;
use crate::queue::pending::Limits;
use crate::queue::writer::{self, Sink, lines_in};
use crate::store::{Row, StoreError};
use crate::wire::details::Details;
use crate::wire::gap::read_gap;

/// How a query log is written to an audit log. See [`QueryLog::storing`].
#[derive(Clone, Debug)]
#[must_use]
pub struct StoreSettings {
    log: AuditLog,
    overload: Overload,
    queue: usize,
    gather: (usize, Duration),
    retry: Duration,
}

impl QueryLog {
    /// The settings of a log whose records go to an audit log, to be changed and opened. Each record is there when its
    /// request begins, without an end, and is completed when it ends; where both fall into a batch, it is written once.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("audit.db");
    /// use axum::{Router, routing::get};
    /// use tagtrail::Admit;
    /// use tagtrail_querylog::{AuditLog, QueryLog, QueryLogLayer};
    ///
    /// let log = QueryLog::storing(AuditLog::open(path)?).open()?;
    /// let layers = QueryLogLayer::new(log.clone()).under(Admit::Restart);
    /// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layers);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Whose a record is, [`QueryLogLayer::caller`](crate::QueryLogLayer::caller) says, or the service by
    /// [`RecordHandle::update`](crate::RecordHandle::update). One that has no environment is in no answer about an
    /// environment, about requests or about a trace.
    ///
    /// An acknowledged record is as safe as the store makes it. The [counters](QueryLog::counters) count begins and ends
    /// each for itself. What is missing since the queue was full, or the store failed, is counted, and said in the log of
    /// the process: a store has no place for a [`Gap`](crate::Gap).
    pub fn storing(log: AuditLog) -> StoreSettings {
        StoreSettings {
            log,
            overload: Overload::default(),
            queue: 64 << 20,
            gather: (256 << 10, Duration::from_millis(2)),
            retry: Duration::from_secs(10),
        }
    }
}

impl StoreSettings {
    /// What happens to a request when the queue is full.
    pub fn overload(self, overload: Overload) -> Self {
        Self { overload, ..self }
    }

    /// How many bytes of records wait for the store at most; 64 MB (2^26) by default, and at least 4 KB (2^12). A
    /// single record may not have more.
    pub fn queue_bytes(self, bytes: usize) -> Self {
        Self { queue: bytes, ..self }
    }

    /// A batch is written when it has so many bytes, or its first record is so old: by default 256 KB or
    /// 2 milliseconds. While the store is busy, the next batch grows beyond this.
    pub fn gather(self, bytes: usize, time: Duration) -> Self {
        Self { gather: (bytes, time), ..self }
    }

    /// For how long the writer tries again when the store fails, before it gives a batch up; 10 seconds by default. A
    /// record that the store [refuses](crate::store::StoreError::Refused) is given up at once, and no other with it.
    pub fn retry_for(self, retry: Duration) -> Self {
        Self { retry, ..self }
    }

    /// Opens the log: starts the thread that writes.
    ///
    /// # Errors
    ///
    /// If the queue has room for no record, or no thread can be started.
    pub fn open(self) -> io::Result<QueryLog> {
        // With a thread of its own: connections that are made here serve others too, while nothing is written.
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("querylog-store").enable_all().build()?;
        let (batch, linger) = self.gather;
        room_for_a_record(self.queue)?;
        let limits = Limits { queue: self.queue, batch: batch.min(self.queue / 2), linger };
        let sink = Box::new(Stored { log: self.log, runtime, refused: Vec::new(), why: None });
        let (queue, ended) = writer::start_sink(sink, None, limits, self.retry)?;
        Ok(QueryLog::of(queue, ended, self.overload, Box::new(Lines)))
    }
}

/// The lines of records that are on their way to a store.
#[derive(Debug)]
struct Lines;

#[derive(Serialize)]
struct Line<'a> {
    ended: bool,
    record: AuditRecord,
    details: Details<'a>,
}

#[derive(Deserialize)]
struct ReadLine<'a> {
    ended: bool,
    record: AuditRecord,
    #[serde(borrow)]
    details: &'a RawValue,
}

impl Encode for Lines {
    fn encode(&self, record: &Record, line: &mut Vec<u8>) -> io::Result<()> {
        let ended = record.response.outcome.is_some();
        let members = Line { ended, record: record.audit(), details: Details::of(record) };
        serde_json::to_writer(&mut *line, &members)?;
        line.push(b'\n');
        Ok(())
    }

    fn has_begins(&self) -> bool {
        true
    }
}

/// An audit log as a place where lines end up.
struct Stored {
    log: AuditLog,
    runtime: Runtime,
    /// The numbers of lines that the store refuses, and why it refused the first of them.
    refused: Vec<u64>,
    why: Option<StoreError>,
}

impl Sink for Stored {
    fn write(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        let rest: Vec<_> = lines[*done..].split_inclusive(|&byte| byte == b'\n').collect();
        self.write_some(&rest, lines, done)
    }

    fn take_refused(&mut self) -> Vec<u64> {
        if let Some(error) = self.why.take() {
            tracing::error!(%error, "audit log: {} records are given up", self.refused.len());
        }
        std::mem::take(&mut self.refused)
    }
}

impl Stored {
    /// Writes some of the lines. Where the store refuses them, each half for itself, so that all are written but for those
    /// that it refuses alone.
    fn write_some(&mut self, some: &[&[u8]], lines: &[u8], done: &mut usize) -> io::Result<()> {
        match self.write_at_once(some) {
            Err(Fault::Store(StoreError::Refused(_))) if some.len() > 1 => {
                let (first, second) = some.split_at(some.len() / 2);
                self.write_some(first, lines, done)?;
                return self.write_some(second, lines, done);
            }
            Err(Fault::Store(error @ StoreError::Refused(_))) => {
                self.why.get_or_insert(error);
                self.refused.push(lines_in(&lines[..*done]) as u64);
            }
            Err(Fault::Store(error)) => return Err(io::Error::other(error)),
            Err(Fault::Line(error)) => return Err(error.into()),
            Ok(()) => {}
        }
        *done += some.iter().map(|line| line.len()).sum::<usize>();
        Ok(())
    }

    fn write_at_once(&self, lines: &[&[u8]]) -> Result<(), Fault> {
        let (mut rows, mut gaps) = (Vec::new(), Vec::new());
        for line in lines {
            match serde_json::from_slice::<ReadLine<'_>>(line).and_then(row) {
                Ok(row) => rows.push(row),
                Err(error) => gaps.push(read_gap(line).map_err(|_| error)?),
            }
        }
        self.runtime.block_on(self.log.put_rows(rows))?;
        for gap in gaps {
            tracing::error!("audit log: records are missing: {gap}");
        }
        Ok(())
    }
}

/// Why lines are not written.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Line(#[from] serde_json::Error),
}

/// The row of a line: its keys are made here, and not while a request waits.
fn row(ReadLine { ended, record, details }: ReadLine<'_>) -> serde_json::Result<Row> {
    let short = AuditRecord { stdout: None, stderr: None, udf_data: None, ..record.clone() };
    let [keys, end_keys] = keys_of(&Details::record(details.get(), short)?);
    Ok(Row { details: Some(details.get().to_owned()), keys, end_keys, ..Row::of(record, ended) })
}
