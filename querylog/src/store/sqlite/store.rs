//! The store itself: [`Sqlite`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

use crate::model::distinct::Distinct;
use crate::model::gap::Gap;
use crate::model::window::Window;
use crate::model::writer_status::{WriterReport, WriterStatus};
use crate::store::sql::{COLUMNS, short_columns};
use crate::store::sqlite::connections::{Synchronous, open_reader, open_writer};
use crate::store::sqlite::error::failed;
use crate::store::sqlite::opened_file::OpenedFile;
use crate::store::sqlite::reader::{exported, find, first_of_each, read_range};
use crate::store::sqlite::rows::read_row;
use crate::store::sqlite::running::Running;
use crate::store::sqlite::statements;
use crate::store::sqlite::writer::{Put, Task, Writer};
use crate::store::sqlite::writers;
use crate::store::{ExportedRow, Hits, Jobs, Key, Row, RowRange, Selection, Store, StoreError};

/// How long a call waits for its turn before it fails with [`StoreError::Overloaded`].
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a call waits until it is written, besides the time for which other processes may lock the file.
const WRITE: Duration = Duration::from_secs(10);

/// How long each wait may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For another process that writes.
    busy: Duration,
    /// For the response to a question.
    query: Duration,
    /// For a step of an export or of a sweep.
    maintenance: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { busy: Duration::from_secs(10), query: Duration::from_secs(4), maintenance: Duration::from_secs(60) }
    }
}

/// A store in a file of SQLite. Clones share the store.
///
/// The file is in WAL mode: next to it are two others, with `-wal` and `-shm` appended to its name. Other processes may
/// read and write it at the same time.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use tagtrail_querylog::AuditLog;
/// use tagtrail_querylog::store::Sqlite;
///
/// let log = AuditLog::new(Sqlite::open(path)?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sqlite(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) path: PathBuf,
    pub(super) writer: Writer,
    /// `None` once it is dropped.
    pub(super) tasks: Option<mpsc::Sender<Task>>,
    pub(super) thread: Option<thread::JoinHandle<()>>,
    pub(super) turns: Arc<Semaphore>,
    limits: Limits,
    pub(super) readers: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Opens a file with the default settings.
    ///
    /// # Errors
    ///
    /// As [`SqliteBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder(path).open()
    }

    /// Returns the settings of a store in a file.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder {
            path: path.as_ref().to_owned(),
            synchronous: Synchronous::default(),
            readers: 4,
            existing: false,
            limits: Limits::default(),
        }
    }

    /// Runs a query on its own connection, on a thread that may block, within the limit of a question.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.read_within(self.0.limits.query, query).await
    }

    async fn read_within<T, F>(&self, limit: Duration, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.0.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| StoreError::Overloaded)?.map_err(|_| StoreError::Closed)?;
        let inner = Arc::clone(&self.0);
        let running = Running::default();
        // Also if the caller is gone.
        let _interrupt = running.interrupt_on_drop();
        let task = tokio::task::spawn_blocking(move || {
            let spare = inner.readers().pop();
            let mut connection = spare.map_or_else(|| open_reader(&inner.path), Ok)?;
            let result = running.run(&mut connection, query);
            inner.readers().push(connection);
            drop(turn);
            result.map_or(Err(StoreError::Overloaded), |result| result.map_err(failed))
        });
        match tokio::time::timeout(limit, task).await {
            Ok(result) => result.unwrap_or_else(|error| Err(StoreError::failed(error))),
            Err(_) => Err(StoreError::Overloaded),
        }
    }

    /// Runs a change on the writer thread, in turn with the records.
    pub(super) async fn change<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, changed) = oneshot::channel();
        let task = Task::Change(Box::new(move |connection| {
            // Nothing changes for a caller that was told that it failed.
            if !done.is_closed() {
                let _ = done.send(connection.and_then(change));
            }
        }));
        self.send(task).await?;
        self.written(changed).await?.map_err(failed)
    }

    /// Waits for the writer thread, which other processes may keep waiting.
    async fn written<T>(&self, written: oneshot::Receiver<T>) -> Result<T, StoreError> {
        let written = tokio::time::timeout(self.0.limits.busy + WRITE, written).await;
        written.map_err(|_| StoreError::Overloaded)?.map_err(|_| StoreError::Closed)
    }

    /// Sends a task to the writer thread.
    async fn send(&self, task: Task) -> Result<(), StoreError> {
        let tasks = self.0.tasks.as_ref().ok_or(StoreError::Closed)?;
        tasks.send_timeout(task, PATIENCE).await.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => StoreError::Overloaded,
            SendTimeoutError::Closed(_) => StoreError::Closed,
        })
    }
}

impl Inner {
    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until everything that was sent is written.
impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("audit log: the writer thread of SQLite panicked");
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The settings of a [`Sqlite`] store. See [`Sqlite::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteBuilder {
    path: PathBuf,
    synchronous: Synchronous,
    readers: usize,
    existing: bool,
    limits: Limits,
}

impl SqliteBuilder {
    /// Sets the safety of an acknowledged row. By default, it is on disk.
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        Self { synchronous, ..self }
    }

    /// Sets the number of queries that run at a time; 4 by default, and at least 1.
    pub fn readers(self, readers: usize) -> Self {
        Self { readers: readers.max(1), ..self }
    }

    /// Sets how long a write waits for another process that writes to the file, before it fails with
    /// [`StoreError::Overloaded`]; 10 seconds by default.
    pub fn busy_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { busy: limit, ..self.limits }, ..self }
    }

    /// Sets how long a question may take, before it is interrupted and fails with [`StoreError::Overloaded`]; 4 seconds by
    /// default.
    pub fn query_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { query: limit, ..self.limits }, ..self }
    }

    /// Sets how long a step of an export or of a sweep may take; 60 seconds by default.
    pub fn maintenance_timeout(self, limit: Duration) -> Self {
        Self { limits: Limits { maintenance: limit, ..self.limits }, ..self }
    }

    /// Opens only a file that exists: if there is none, or it has no tables, opening fails. For programs that only
    /// query.
    pub fn existing(self) -> Self {
        Self { existing: true, ..self }
    }

    /// Opens the file, creates it and its tables if they do not exist, and starts the writer thread. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, is not the database of an audit log, or is of a later version of this crate; or if
    /// it must [exist](Self::existing), and does not.
    pub fn open(self) -> Result<Sqlite, StoreError> {
        if self.path.as_os_str().is_empty() || self.path.as_os_str() == ":memory:" {
            return Err(StoreError::unusable(
                "expected a file; a database in memory would be separate for each connection",
            ));
        }
        let writer = open_writer(&self.path, self.synchronous, self.limits.busy, self.existing)?;
        let file = OpenedFile::now(&self.path);
        let connections = (0..self.readers).map(|_| open_reader(&self.path)).collect::<Result<Vec<_>, _>>()?;
        let writer = Writer::new(writer, file);
        let (tasks, thread) = writer.start().map_err(StoreError::failed)?;
        Ok(Sqlite(Arc::new(Inner {
            path: self.path,
            writer,
            tasks: Some(tasks),
            thread: Some(thread),
            turns: Arc::new(Semaphore::new(self.readers)),
            limits: self.limits,
            readers: Mutex::new(connections),
        })))
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn put(&self, rows: Arc<[Row]>, report: Option<&WriterReport>) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        self.send(Task::Put(Put { rows, report: report.cloned(), done })).await?;
        Ok(self.written(written).await??)
    }

    fn put_blocking(&self, rows: &Arc<[Row]>, report: Option<&WriterReport>, _: &Handle) -> Result<(), StoreError> {
        self.0.writer.put(rows, report)
    }

    async fn put_gap(&self, id: Uuid, gap: &Gap) -> Result<(), StoreError> {
        let gap = gap.clone();
        self.change(move |connection| writers::put_gap(connection, id, &gap)).await
    }

    async fn report(&self, report: &WriterReport) -> Result<(), StoreError> {
        let report = report.clone();
        self.change(move |connection| writers::report(connection, &report)).await
    }

    async fn writers(&self) -> Result<Vec<WriterStatus>, StoreError> {
        self.read(|connection| writers::read(connection)).await
    }

    async fn gaps(&self, window: Window, limit: usize) -> Result<Vec<Gap>, StoreError> {
        self.read(move |connection| writers::read_gaps(connection, window, limit)).await
    }

    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM record WHERE id = ?1"))?;
            select.query_row([id], read_row).optional()
        })
        .await
    }

    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.read(move |connection| read_range(connection, COLUMNS, &range, limit, read_row)).await
    }

    async fn short_page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.read(move |connection| read_range(connection, &short_columns("NULL"), &range, limit, read_row)).await
    }

    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.read(move |connection| {
            // Both queries see the same rows.
            first_of_each(&connection.transaction()?, &range, of, scan)
        })
        .await
    }

    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        self.read(move |connection| find(&connection.transaction()?, &range, limit, scan)).await
    }

    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        let objects = objects.to_vec();
        self.read_within(self.0.limits.maintenance, move |connection| {
            let mut select = connection.prepare_cached("SELECT 1 FROM record WHERE object = ?1")?;
            objects.iter().map(|object| select.exists([object])).collect()
        })
        .await
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.read(|connection| connection.query_row("SELECT bytes FROM secret", [], |row| row.get(0))).await
    }

    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        let (start, end) = (window.start.as_micros(), window.end.as_micros());
        let limit = self.0.limits.maintenance;
        self.read_within(limit, move |connection| connection.prepare_cached(statements::OPEN)?.exists([start, end]))
            .await
    }

    async fn exported(&self, range: RowRange<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        self.read_within(self.0.limits.maintenance, move |connection| exported(connection, &range, limit)).await
    }

    fn rejected_file(&self) -> Option<PathBuf> {
        let mut path = self.0.path.clone().into_os_string();
        path.push(".rejected.jsonl");
        Some(path.into())
    }

    fn jobs(&self) -> Option<&dyn Jobs> {
        Some(self)
    }
}
