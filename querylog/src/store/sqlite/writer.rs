//! The writer: one connection, and a thread for callers that must not block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use crate::model::writer_status::WriterReport;
use crate::store::sql::without_starts;
use crate::store::sqlite::error::is_overload;
use crate::store::sqlite::opened_file::OpenedFile;
use crate::store::sqlite::rows::{end_row, write_row};
use crate::store::sqlite::statements::{self, COMMITTED, END, ENTRY, NEXT_COMMIT};
use crate::store::sqlite::tables;
use crate::store::sqlite::writers;
use crate::store::{Row, StoreError};

/// The number of rows of several callers in one transaction: enough to make the `fsync` cheap, and few enough to take
/// only milliseconds.
const TRANSACTION: usize = 2_000;
/// The maximum number of calls that wait for the writer.
const WAITING: usize = 4_096;

/// A task of the writer thread.
pub(super) enum Task {
    Put(Put),
    /// Any other change, on its connection, or with the reason why it cannot be used.
    Change(Change),
}

type Change = Box<dyn FnOnce(rusqlite::Result<&mut Connection>) + Send>;

/// Rows to put, and the caller that waits for them.
pub(super) struct Put {
    pub(super) rows: Arc<[Row]>,
    pub(super) report: Option<WriterReport>,
    pub(super) done: oneshot::Sender<Result<(), Failure>>,
}

/// The failure of a transaction, which all of its callers get.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Failure(Arc<rusqlite::Error>);

impl Failure {
    fn new(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }

    /// Returns whether a row is the reason, so that a retry would fail too.
    fn is_rejection(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
        let code = self.0.sqlite_error_code();
        code.is_some_and(|code| matches!(code, ConstraintViolation | TooBig | TypeMismatch))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        if failure.is_rejection() {
            Self::rejected(failure)
        } else if tables::is_later(&failure.0) {
            Self::unusable(failure)
        } else if is_overload(&failure.0) {
            Self::Overloaded
        } else {
            Self::failed(failure)
        }
    }
}

/// The connection that writes. Clones share it.
#[derive(Clone)]
pub(super) struct Writer(Arc<Mutex<Connected>>);

struct Connected {
    connection: Connection,
    file: OpenedFile,
}

impl Writer {
    pub(super) fn new(connection: Connection, file: OpenedFile) -> Self {
        Self(Arc::new(Mutex::new(Connected { connection, file })))
    }

    fn lock(&self) -> MutexGuard<'_, Connected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts rows in one transaction.
    pub(super) fn put(&self, rows: &[Row], report: Option<&WriterReport>) -> Result<(), StoreError> {
        Ok(self.lock().write(rows.iter(), report.into_iter()).map_err(Failure::new)?)
    }

    /// Starts the thread. It ends when the sender is dropped and every task is done.
    pub(super) fn start(&self) -> std::io::Result<(mpsc::Sender<Task>, JoinHandle<()>)> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let writer = self.clone();
        let thread = thread::Builder::new().name("audit-sqlite".into()).spawn(move || writer.run(receiver))?;
        Ok((sender, thread))
    }

    fn run(&self, mut receiver: mpsc::Receiver<Task>) {
        while let Some(first) = receiver.blocking_recv() {
            let (mut rows, mut puts, mut next) = (0, Vec::new(), Some(first));
            let change = loop {
                match next {
                    Some(Task::Put(put)) => {
                        rows += put.rows.len();
                        puts.push(put);
                    }
                    Some(Task::Change(change)) => break Some(change),
                    None => break None,
                }
                next = if rows < TRANSACTION { receiver.try_recv().ok() } else { None };
            };
            self.put_all(puts, rows);
            if let Some(change) = change {
                change(self.lock().connection());
            }
        }
    }

    /// Puts the rows of several callers in one transaction.
    fn put_all(&self, puts: Vec<Put>, rows: usize) {
        if puts.is_empty() {
            return;
        }
        let reports = puts.iter().filter_map(|put| put.report.as_ref());
        let result = self.lock().write(puts.iter().flat_map(|put| &*put.rows), reports).map_err(Failure::new);
        let is_rejected = result.as_ref().is_err_and(Failure::is_rejection);
        if puts.len() > 1 && is_rejected {
            // A row of one caller is rejected, which must not affect the others.
            for put in puts {
                let rows = put.rows.len();
                self.put_all(vec![put], rows);
            }
            return;
        }
        // Rejections are reported by the caller of `put`.
        if let Some(error) = result.as_ref().err().filter(|_| !is_rejected) {
            tracing::error!(%error, "audit log: SQLite failed to write {rows} rows");
        }
        for put in puts {
            // The caller may be gone.
            let _ = put.done.send(result.clone());
        }
    }
}

impl Connected {
    /// Returns the connection, unless the file is gone, so that nobody would find what it writes.
    fn connection(&mut self) -> rusqlite::Result<&mut Connection> {
        if self.file.is_where_it_was() {
            tables::check_version(&self.connection)?;
            return Ok(&mut self.connection);
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY_DBMOVED);
        let why = "the file was deleted or moved while it was open; restore it, or reopen the log";
        Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())))
    }

    fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Row> + Clone,
        reports: impl Iterator<Item = &'a WriterReport>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tables::check_version(&transaction)?;
        let mut statements = Statements::prepare(&transaction)?;
        for row in without_starts(rows) {
            statements.write(row)?;
        }
        drop(statements);
        for report in reports {
            writers::update(&transaction, report)?;
        }
        transaction.commit()
    }
}

/// The statements that write the rows of a transaction.
struct Statements<'a> {
    new: CachedStatement<'a>,
    end: CachedStatement<'a>,
    put: CachedStatement<'a>,
    entry: CachedStatement<'a>,
    committed: CachedStatement<'a>,
    /// The number of this commit.
    seq: i64,
}

impl<'a> Statements<'a> {
    fn prepare(transaction: &'a Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            new: transaction.prepare_cached(&statements::new_text())?,
            end: transaction.prepare_cached(END)?,
            put: transaction.prepare_cached(&statements::put_text())?,
            entry: transaction.prepare_cached(ENTRY)?,
            committed: transaction.prepare_cached(COMMITTED)?,
            seq: transaction.prepare_cached(NEXT_COMMIT)?.query_row([], |row| row.get(0))?,
        })
    }

    fn write(&mut self, row: &Row) -> rusqlite::Result<()> {
        let is_short = row.ended && row.object.is_none();
        let has_keys = is_short && end_row(row, |parameters| self.end.execute(parameters))? > 0;
        let is_at_its_time = has_keys || write_row(row, |parameters| self.new.execute(parameters))? > 0;
        let id = row.record.id.as_str();
        let time = if is_at_its_time {
            row.record.timestamp.as_micros()
        } else {
            let write = |parameters: &[&dyn ToSql]| self.put.query_row(parameters, |put| put.get(0)).optional();
            // The existing row stays as it is, and so do its entries.
            let Some(time) = write_row(row, write)? else { return Ok(()) };
            time
        };
        for key in row.keys.iter().filter(|_| !has_keys).chain(&row.end_keys) {
            self.entry.execute(params![key.as_bytes(), time, id])?;
        }
        self.committed.execute(params![self.seq, id, time]).map(drop)
    }
}
