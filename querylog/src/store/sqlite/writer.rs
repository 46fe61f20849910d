//! The thread that writes.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OptionalExtension, ToSql, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::opened_file::OpenedFile;
use super::rows::{end_row, write_row};
use super::statements::{self, END, ENTRY};
use crate::store::{Row, without_begins};

/// How many rows one transaction has at most: so many that the `fsync` costs little, so few that it takes milliseconds.
const TRANSACTION: usize = 2_000;
/// How many calls of `put` wait for the writer at most.
const WAITING: usize = 4_096;
/// What the thread that writes is to do.
pub(super) enum Task {
    Put(Put),
    /// Anything else, on its connection, where there is one to write by.
    Change(Change),
}

type Change = Box<dyn FnOnce(rusqlite::Result<&mut Connection>) + Send>;

/// Rows to put, and whom to tell.
pub(super) struct Put {
    pub(super) rows: Vec<Row>,
    pub(super) done: oneshot::Sender<Result<(), Failure>>,
}

/// One failure, told to all whose rows were in the transaction.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Failure(Arc<rusqlite::Error>);

impl Failure {
    /// Whether it is for what a row has, so that it stays.
    pub(super) fn is_refusal(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
        let code = self.0.sqlite_error_code();
        code.is_some_and(|code| matches!(code, ConstraintViolation | TooBig | TypeMismatch))
    }
}

/// Starts the thread. It ends when the sender is dropped, and all that was sent is done.
pub(super) fn start(connection: Connection, file: OpenedFile) -> std::io::Result<(mpsc::Sender<Task>, JoinHandle<()>)> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let thread = thread::Builder::new().name("audit-sqlite".into());
    let thread = thread.spawn(move || Writer { connection, file }.run(receiver))?;
    Ok((sender, thread))
}

struct Writer {
    connection: Connection,
    file: OpenedFile,
}

impl Writer {
    fn run(mut self, mut receiver: mpsc::Receiver<Task>) {
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
            self.put(puts, rows);
            if let Some(change) = change {
                change(self.connection());
            }
        }
    }

    fn put(&mut self, puts: Vec<Put>, rows: usize) {
        if !puts.is_empty() {
            let result = self.write(&puts).map_err(|error| Failure(Arc::new(error)));
            let is_refused = result.as_ref().is_err_and(Failure::is_refusal);
            if puts.len() > 1 && is_refused {
                // One has a row that is refused, and that is no matter of the others.
                for put in puts {
                    let rows = put.rows.len();
                    self.put(vec![put], rows);
                }
                return;
            }
            // What is refused is for who put it to tell.
            if let Some(error) = result.as_ref().err().filter(|_| !is_refused) {
                tracing::error!(%error, "audit log: SQLite does not take {rows} rows");
            }
            for put in puts {
                // Nobody waits for it where the caller is gone.
                let _ = put.done.send(result.clone());
            }
        }
    }

    /// The connection, unless what it writes is where nobody finds it.
    fn connection(&mut self) -> rusqlite::Result<&mut Connection> {
        if self.file.is_where_it_was() {
            return Ok(&mut self.connection);
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY_DBMOVED);
        let why = "the file was deleted or moved while it was written: bring it back, or open the log again";
        Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())))
    }

    fn write(&mut self, puts: &[Put]) -> rusqlite::Result<()> {
        let transaction = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let (mut new, mut end) =
                (transaction.prepare_cached(&statements::new_text())?, transaction.prepare_cached(END)?);
            let mut put = transaction.prepare_cached(&statements::put_text())?;
            let mut entry = transaction.prepare_cached(ENTRY)?;
            for row in without_begins(puts.iter().flat_map(|put| &put.rows)) {
                let is_short = row.ended && row.object.is_none();
                let has_keys = is_short && end_row(row, |parameters| end.execute(parameters))? > 0;
                let is_at_its_time = has_keys || write_row(row, |parameters| new.execute(parameters))? > 0;
                let time = if is_at_its_time {
                    row.record.timestamp.as_micros()
                } else {
                    let write = |parameters: &[&dyn ToSql]| put.query_row(parameters, |put| put.get(0)).optional();
                    // The row that is there stays as it is, and so do its entries.
                    let Some(time) = write_row(row, write)? else { continue };
                    time
                };
                for key in row.keys.iter().filter(|_| !has_keys).chain(&row.end_keys) {
                    entry.execute(params![key.as_bytes(), time, row.record.id.as_str()])?;
                }
            }
        }
        transaction.commit()
    }
}
