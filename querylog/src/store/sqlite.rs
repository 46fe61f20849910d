//! SQLite: the store that is in the process.
//!
//! One thread writes, and puts all that waits into one transaction, so that many records share one `fsync`. Readers
//! have connections of their own, and wait neither for the writer nor for each other.

mod exports;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::exports::VERSION_3;
use super::{
    COLUMNS, Distinct, ExportStore, Hits, Key, Members, Place, REPLACED, Range, Row, Selection, Store, StoreError,
    short_columns, without_begins,
};
use crate::audit::AuditRecord;
use crate::time::Timestamp;

/// How many rows one transaction has at most: so many that the `fsync` costs little, so few that it takes milliseconds.
const TRANSACTION: usize = 2_000;
/// How many calls of `put` wait for the writer at most.
const WAITING: usize = 4_096;
/// How long a call waits for its turn before it is told that there is too much to do.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection waits for another process that writes to the same file.
const BUSY: Duration = Duration::from_secs(10);

/// How much of the file the writer keeps in memory: the pages that a batch changes, so that they are read once. Negative
/// numbers are KiB.
const WRITER_CACHE: i64 = -64 * 1_024;
/// How much a reader keeps.
const READER_CACHE: i64 = -8 * 1_024;

/// What makes each version of the tables from the one before. A file has the number of its version (`user_version`).
const VERSIONS: [(u32, &str); 3] = [(1, VERSION_1), (2, VERSION_2), (3, VERSION_3)];

/// Records. The pointer to an object has columns of its own. Short columns come first, so that to read them does not
/// touch the pages that long values overflow to. Of the two indexes that are asked for distinct values, these are part.
const VERSION_1: &str = "
    CREATE TABLE record (
        id TEXT NOT NULL PRIMARY KEY,
        timestamp INTEGER NOT NULL,
        exec_env_id TEXT,
        user_id TEXT,
        user_email TEXT,
        udf_id TEXT,
        udf_name TEXT,
        execution_engine TEXT,
        execution_time REAL,
        cache INTEGER,
        shared_token TEXT,
        client_ip TEXT,
        object TEXT,
        object_members INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        stdout TEXT,
        stderr TEXT,
        udf_data TEXT
    ) STRICT;
    CREATE INDEX record_of_user ON record (user_email, timestamp, id, udf_name, udf_id)
        WHERE user_email IS NOT NULL;
    CREATE INDEX record_of_env ON record (exec_env_id, timestamp, id, udf_name, udf_id)
        WHERE exec_env_id IS NOT NULL;
    CREATE INDEX record_of_udf_id ON record (exec_env_id, udf_id, timestamp, id) WHERE udf_id IS NOT NULL;
    CREATE INDEX record_of_udf_name ON record (exec_env_id, udf_name, timestamp, id) WHERE udf_name IS NOT NULL;
    CREATE INDEX record_of_shared_token ON record (exec_env_id, shared_token, timestamp, id)
        WHERE shared_token IS NOT NULL;
    CREATE INDEX record_of_object ON record (object) WHERE object IS NOT NULL;
    CREATE TABLE secret (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), bytes BLOB NOT NULL) STRICT;
";

/// What is known of requests besides, and the index by which they are found. `keys` tells which of its keys are there.
const VERSION_2: &str = "
    ALTER TABLE record ADD COLUMN details TEXT;
    ALTER TABLE record ADD COLUMN keys INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE entry (
        key BLOB NOT NULL,
        timestamp INTEGER NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (key, timestamp, id)
    ) STRICT, WITHOUT ROWID;
";

/// Ends a row of which no index is to change: what is most often to do, for half of the work.
const END: &str = "
    UPDATE record SET user_id = ?7, execution_engine = ?8, execution_time = ?9, cache = ?10, client_ip = ?11, stdout = ?12,
        stderr = ?13, udf_data = ?14, details = coalesce(?15, details), ended = 1
    WHERE id = ?1 AND ended = 0 AND exec_env_id IS ?2 AND user_email IS ?3 AND udf_id IS ?4 AND udf_name IS ?5
        AND shared_token IS ?6 AND keys = ?16 AND timestamp = ?17 AND object IS NULL";

/// An entry of the index of keys, at the time that its row has. Those of the begin are there when the end is put.
const ENTRY: &str = "INSERT OR IGNORE INTO entry (key, timestamp, id) VALUES (?1, ?2, ?3)";

/// How safe a row is when [`put`](Store::put) has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Synchronous {
    /// On the disk: a power cut takes nothing (`synchronous=FULL`).
    #[default]
    Full,
    /// With the operating system: a killed process takes nothing, a power cut takes what came last, and the file stays
    /// sound (`synchronous=NORMAL`).
    Normal,
}

/// How a [`Sqlite`] is opened. See [`Sqlite::settings`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteSettings {
    path: PathBuf,
    synchronous: Synchronous,
    readers: usize,
}

impl SqliteSettings {
    /// How safe an acknowledged row is. By default it is on the disk.
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        Self { synchronous, ..self }
    }

    /// How many questions are answered at a time; 4 by default, at least one.
    pub fn readers(self, readers: usize) -> Self {
        Self { readers: readers.max(1), ..self }
    }

    /// Opens the file, makes it and its tables where they are not there, and starts the thread that writes. Blocks while
    /// it does so.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, is no database of an audit log, or one of a later version of this crate.
    pub fn open(self) -> Result<Sqlite, StoreError> {
        if self.path.as_os_str().is_empty() || self.path.as_os_str() == ":memory:" {
            return Err(StoreError::failed("a file is needed: a database in memory is one for each connection"));
        }
        let writer = open_writer(&self.path, self.synchronous)?;
        let file = OpenedFile::now(&self.path);
        let connections = (0..self.readers).map(|_| open_reader(&self.path)).collect::<Result<Vec<_>, _>>()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let thread = thread::Builder::new()
            .name("audit-sqlite".into())
            .spawn(move || Writer { connection: writer, file }.run(receiver))
            .map_err(StoreError::failed)?;
        Ok(Sqlite(Arc::new(Inner {
            path: self.path,
            writer: Some(sender),
            thread: Some(thread),
            turns: Arc::new(Semaphore::new(self.readers)),
            readers: Mutex::new(connections),
        })))
    }
}

/// A store in a file of SQLite. A clone is the same store.
///
/// The file is in WAL mode: beside it are two others, of the same name with `-wal` and `-shm` behind it. Other processes
/// may read and write it meanwhile.
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
pub struct Sqlite(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// `None` once it is dropped.
    writer: Option<mpsc::Sender<Task>>,
    thread: Option<thread::JoinHandle<()>>,
    turns: Arc<Semaphore>,
    readers: Mutex<Vec<Connection>>,
}

/// What the thread that writes is to do.
enum Task {
    Put(Put),
    /// Anything else, on its connection.
    Change(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// Rows to put, and whom to tell.
struct Put {
    rows: Vec<Row>,
    done: oneshot::Sender<Result<(), Failure>>,
}

/// One failure, told to all whose rows were in the transaction.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
struct Failure(Arc<rusqlite::Error>);

impl Sqlite {
    /// Opens a file with the settings as they are by default.
    ///
    /// # Errors
    ///
    /// As [`SqliteSettings::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::settings(path).open()
    }

    /// The settings of a store in a file, to be changed and opened.
    pub fn settings(path: impl AsRef<Path>) -> SqliteSettings {
        SqliteSettings { path: path.as_ref().to_owned(), synchronous: Synchronous::default(), readers: 4 }
    }

    /// Asks a question on a connection of its own, on a thread that may block.
    async fn ask<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.0.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| StoreError::Overloaded)?.map_err(|_| StoreError::Closed)?;
        let inner = Arc::clone(&self.0);
        let answer = tokio::task::spawn_blocking(move || {
            let spare = inner.readers().pop();
            let mut connection = spare.map_or_else(|| open_reader(&inner.path), Ok)?;
            let answer = question(&mut connection).map_err(StoreError::failed);
            inner.readers().push(connection);
            drop(turn);
            answer
        });
        answer.await.unwrap_or_else(|error| Err(StoreError::failed(error)))
    }
}

impl Inner {
    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until what was put is written.
impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.writer.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("audit log: the thread that writes to SQLite panicked");
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn put(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        self.send(Task::Put(Put { rows, done })).await?;
        written.await.map_err(|_| StoreError::Closed)?.map_err(StoreError::failed)
    }

    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        let id = id.to_owned();
        self.ask(move |connection| {
            let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM record WHERE id = ?1"))?;
            select.query_row([id], read_row).optional()
        })
        .await
    }

    async fn page(&self, range: Range, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.ask(move |connection| read_range(connection, COLUMNS, &range, limit, read_row)).await
    }

    async fn first_of_each(&self, range: Range, of: Distinct, scan: usize) -> Result<Vec<Row>, StoreError> {
        self.ask(move |connection| {
            // Both steps see the same rows.
            let transaction = connection.transaction()?;
            let columns = match of {
                Distinct::Names => "rowid, udf_name",
                Distinct::Ids => "rowid, udf_id",
            };
            let read = read_range(&transaction, columns, &range, scan, |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
            })?;
            let mut seen = HashSet::new();
            let mut select = transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM record WHERE rowid = ?1"))?;
            let first = read.into_iter().filter(|(_, value)| value.as_ref().is_some_and(|v| seen.insert(v.clone())));
            first.map(|(rowid, _)| select.query_row([rowid], read_row)).collect()
        })
        .await
    }

    async fn find(&self, range: Range<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        self.ask(move |connection| find(&connection.transaction()?, &range, limit, scan)).await
    }

    async fn has_object(&self, object: &str) -> Result<bool, StoreError> {
        let object = object.to_owned();
        self.ask(move |connection| {
            connection.prepare_cached("SELECT 1 FROM record WHERE object = ?1")?.exists([object])
        })
        .await
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.ask(|connection| connection.query_row("SELECT bytes FROM secret", [], |row| row.get(0))).await
    }

    fn exports(&self) -> Option<&dyn ExportStore> {
        Some(self)
    }
}

/// The statement of a range, and what it asks for besides the two places: the columns of its index that are to be equal.
/// The index is named, since without it SQLite takes another one whose pages have to be filtered.
fn statement<'a>(columns: &str, range: &'a Range) -> (String, Vec<&'a str>) {
    let (index, value, values): (_, _, Vec<&str>) = match &range.of {
        Selection::User(email) => ("record_of_user", "user_email", vec![email]),
        Selection::Environment(id) => ("record_of_env", "exec_env_id", vec![id]),
        Selection::UdfId { environment, value } => ("record_of_udf_id", "udf_id", vec![value, environment]),
        Selection::UdfName { environment, value } => ("record_of_udf_name", "udf_name", vec![value, environment]),
        Selection::SharedToken { environment, value } => {
            ("record_of_shared_token", "shared_token", vec![value, environment])
        }
    };
    let environment = if values.len() > 1 { " AND exec_env_id = ?7" } else { "" };
    let order = if range.newest_first { "timestamp DESC, id DESC" } else { "timestamp, id" };
    let text = format!(
        "SELECT {columns} FROM record INDEXED BY {index} WHERE {value} = ?6{environment} \
         AND (timestamp, id) > (?1, ?2) AND (timestamp, id) < (?3, ?4) ORDER BY {order} LIMIT ?5"
    );
    (text, values)
}

fn read_range<T>(
    connection: &Connection,
    columns: &str,
    range: &Range,
    limit: usize,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let (text, values) = statement(columns, range);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let Range { after, before, .. } = range;
    let mut parameters: Vec<&dyn ToSql> = vec![&after.micros, &after.id, &before.micros, &before.id, &limit];
    parameters.extend(values.iter().map(|value| value as &dyn ToSql));
    connection.prepare_cached(&text)?.query_map(&*parameters, read)?.collect()
}

/// The statement that reads entries of the first of some keys, and whether their rows have the others too.
fn entries(keys: usize, newest_first: bool) -> String {
    let order = if newest_first { "timestamp DESC, id DESC" } else { "timestamp, id" };
    let others = (1..keys).map(|place| {
        let number = 6 + place;
        format!(" AND EXISTS (SELECT 1 FROM entry WHERE (key, timestamp, id) = (?{number}, first.timestamp, first.id))")
    });
    format!(
        "SELECT timestamp, id, 1{} FROM entry AS first WHERE key = ?6 AND (timestamp, id) > (?1, ?2) \
         AND (timestamp, id) < (?3, ?4) ORDER BY {order} LIMIT ?5",
        others.collect::<String>()
    )
}

/// The id and the time are checked, since the row that was there first keeps its time.
fn short_row() -> String {
    format!("SELECT {} FROM record WHERE id = ?1 AND timestamp = ?2", short_columns("NULL"))
}

fn find(transaction: &Transaction<'_>, range: &Range<Vec<Key>>, limit: usize, scan: usize) -> rusqlite::Result<Hits> {
    let Range { of: keys, after, before, newest_first } = range;
    // One more than is asked for tells that there is more.
    let at_most = i64::try_from(scan.saturating_add(1)).unwrap_or(i64::MAX);
    let mut parameters: Vec<&dyn ToSql> = vec![&after.micros, &after.id, &before.micros, &before.id, &at_most];
    parameters.extend(keys.iter().map(|key| key.as_bytes() as &dyn ToSql));
    let mut entries = transaction.prepare_cached(&entries(keys.len(), *newest_first))?;
    let mut entries = entries.query(&*parameters)?;
    let mut select = transaction.prepare_cached(&short_row())?;
    let (mut rows, mut read, mut last) = (Vec::new(), 0, None);
    while let Some(entry) = entries.next()? {
        if rows.len() == limit || read == scan {
            return Ok(Hits { rows, behind: last });
        }
        let place = Place { micros: entry.get(0)?, id: entry.get(1)? };
        if entry.get(2)? {
            rows.extend(select.query_row(params![place.id, place.micros], read_row).optional()?);
        }
        (read, last) = (read + 1, Some(place));
    }
    Ok(Hits { rows, behind: None })
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let id: String = row.get(0)?;
    let id = id.try_into().map_err(|error| rusqlite::types::FromSqlError::Other(Box::new(error)))?;
    let object: Option<String> = row.get(12)?;
    let members = Members::of_bits(row.get(13)?);
    let record = AuditRecord {
        id,
        timestamp: Timestamp::from_micros(row.get(1)?),
        exec_env_id: row.get(2)?,
        user_id: row.get(3)?,
        user_email: row.get(4)?,
        udf_id: row.get(5)?,
        udf_name: row.get(6)?,
        execution_engine: row.get(7)?,
        execution_time: row.get(8)?,
        cache: row.get(9)?,
        stdout: row.get(16)?,
        stderr: row.get(17)?,
        udf_data: row.get(18)?,
        shared_token: row.get(10)?,
        client_ip: row.get(11)?,
    };
    let object = object.map(|object| (object, members));
    Ok(Row { record, object, ended: row.get(14)?, details: row.get(15)?, keys: Vec::new(), end_keys: Vec::new() })
}

/// A file as it was when it was opened. SQLite goes on to write to one that is deleted, where nobody finds it.
struct OpenedFile {
    path: PathBuf,
    #[cfg(unix)]
    identity: Option<(u64, u64)>,
}

impl OpenedFile {
    #[cfg(unix)]
    fn now(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    #[cfg(unix)]
    fn is_where_it_was(&self) -> bool {
        identity(&self.path) == self.identity
    }

    #[cfg(not(unix))]
    fn now(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where files that are open cannot be deleted.
    #[cfg(not(unix))]
    fn is_where_it_was(&self) -> bool {
        true
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The thread that writes.
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
                change(&mut self.connection);
            }
        }
    }

    fn put(&mut self, puts: Vec<Put>, rows: usize) {
        if !puts.is_empty() {
            let result = self.write(&puts).map_err(|error| Failure(Arc::new(error)));
            if let Err(error) = &result {
                tracing::error!(%error, "audit log: SQLite does not take {rows} rows");
            }
            for put in puts {
                // Nobody waits for it where the caller is gone.
                let _ = put.done.send(result.clone());
            }
        }
    }

    fn write(&mut self, puts: &[Put]) -> rusqlite::Result<()> {
        if !self.file.is_where_it_was() {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY_DBMOVED);
            let why = "the file was deleted or moved while it was written: bring it back, or open the log again";
            return Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())));
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let (mut new, mut end) = (transaction.prepare_cached(&new_text())?, transaction.prepare_cached(END)?);
            let mut put = transaction.prepare_cached(&put_text())?;
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

/// Puts a row that is new, as most are.
fn new_text() -> String {
    format!(
        "INSERT INTO record ({COLUMNS}, keys)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
        ON CONFLICT (id) DO NOTHING"
    )
}

/// Puts a row in the place of one that is there, and returns its time. To return it costs much.
fn put_text() -> String {
    let new = new_text();
    let new = new.trim_end_matches("DO NOTHING");
    format!(
        "{new} DO UPDATE SET {REPLACED}, keys = excluded.keys
        WHERE record.ended < excluded.ended OR (record.execution_time IS NULL AND excluded.execution_time IS NOT NULL)
        RETURNING timestamp"
    )
}

fn end_row<T>(row: &Row, write: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    let record = &row.record;
    write(params![
        record.id.as_str(),
        record.exec_env_id,
        record.user_email,
        record.udf_id,
        record.udf_name,
        record.shared_token,
        record.user_id,
        record.execution_engine,
        record.execution_time,
        record.cache,
        record.client_ip,
        record.stdout,
        record.stderr,
        record.udf_data,
        row.details,
        digest(&row.keys),
        record.timestamp.as_micros(),
    ])
}

fn write_row<T>(row: &Row, write: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    let record = &row.record;
    let (object, members) = row.object.as_ref().map_or((None, 0), |(object, members)| (Some(object), members.bits()));
    write(params![
        record.id.as_str(),
        record.timestamp.as_micros(),
        record.exec_env_id,
        record.user_id,
        record.user_email,
        record.udf_id,
        record.udf_name,
        record.execution_engine,
        record.execution_time,
        record.cache,
        record.shared_token,
        record.client_ip,
        object,
        members,
        row.ended,
        row.details,
        record.stdout,
        record.stderr,
        record.udf_data,
        digest(&row.keys),
    ])
}

/// A number for a set of keys.
fn digest(keys: &[Key]) -> i64 {
    let numbers = keys.iter().filter_map(|key| key.as_bytes().first_chunk()).map(|bytes| i64::from_ne_bytes(*bytes));
    numbers.fold(0, i64::wrapping_add)
}

fn open_writer(path: &Path, synchronous: Synchronous) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path).map_err(StoreError::failed)?;
    prepare(&mut connection, synchronous).map_err(StoreError::failed)??;
    Ok(connection)
}

fn prepare(connection: &mut Connection, synchronous: Synchronous) -> rusqlite::Result<Result<(), StoreError>> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(16);
    if is_of_something_else(connection)? {
        return Ok(Err(StoreError::failed("the file is a database of something else than an audit log")));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let level = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", level)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if VERSIONS.last().is_some_and(|(latest, _)| version > *latest) {
        return Ok(Err(StoreError::failed("the file was written by a later version of this crate")));
    }
    for (number, step) in VERSIONS.iter().filter(|(number, _)| *number > version) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    if version == 0 {
        make_secret(&transaction)?;
    }
    transaction.commit().map(Ok)
}

/// Whether a database has tables, and not ours.
fn is_of_something_else(connection: &mut Connection) -> rusqlite::Result<bool> {
    // Both are read of one state, whoever makes the tables meanwhile.
    let transaction = connection.transaction()?;
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables = "SELECT count(*), count(*) FILTER (WHERE name = 'secret') FROM sqlite_schema";
    let (all, ours): (i64, i64) = transaction.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if version == 0 { all > 0 } else { ours == 0 })
}

fn make_secret(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction.execute("INSERT INTO secret VALUES (1, ?1)", [secret]).map(drop)
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", READER_CACHE)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| StoreError::failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;

    /// How SQLite answers a range: the index, and whether it sorts.
    fn plan(connection: &Connection, columns: &str, range: &Range) -> String {
        explained(connection, &statement(columns, range).0)
    }

    fn explained(connection: &Connection, text: &str) -> String {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let nulls = vec![None::<i64>; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_range_is_read_by_its_index_and_without_sorting() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full).unwrap();
        let (environment, value) = ("e".to_owned(), "v".to_owned());
        for (of, expected) in [
            (Selection::User(value.clone()), "record_of_user (user_email=?"),
            (Selection::Environment(value.clone()), "record_of_env (exec_env_id=?"),
            (
                Selection::UdfId { environment: environment.clone(), value: value.clone() },
                "record_of_udf_id (exec_env_id=? AND udf_id=?",
            ),
            (
                Selection::UdfName { environment: environment.clone(), value: value.clone() },
                "record_of_udf_name (exec_env_id=? AND udf_name=?",
            ),
            (Selection::SharedToken { environment, value }, "record_of_shared_token (exec_env_id=? AND shared_token=?"),
        ] {
            for newest_first in [false, true] {
                let range = Range::new(of.clone(), Window::ALL).newest_first(newest_first);
                let expected =
                    format!("SEARCH record USING INDEX {expected} AND (timestamp,id)>(?,?) AND (timestamp,id)<(?,?))");
                assert_eq!(plan(&connection, COLUMNS, &range), expected);
                if matches!(of, Selection::User(_) | Selection::Environment(_)) {
                    for columns in ["rowid, udf_name", "rowid, udf_id"] {
                        let plan = plan(&connection, columns, &range);
                        assert_eq!(plan, expected.replace("USING INDEX", "USING COVERING INDEX"));
                    }
                }
            }
        }
    }

    #[test]
    fn requests_are_found_by_the_index_of_keys_and_without_sorting() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full).unwrap();
        for newest_first in [false, true] {
            let first = "SEARCH first USING PRIMARY KEY (key=? AND (timestamp,id)>(?,?) AND (timestamp,id)<(?,?))";
            let other = "; SEARCH entry USING PRIMARY KEY (key=? AND timestamp=? AND id=?)";
            assert_eq!(explained(&connection, &entries(1, newest_first)), first);
            let expected = format!("{first}; CORRELATED SCALAR SUBQUERY 1{other}; CORRELATED SCALAR SUBQUERY 2{other}");
            assert_eq!(explained(&connection, &entries(3, newest_first)), expected);
        }
        assert_eq!(explained(&connection, &short_row()), "SEARCH record USING INDEX sqlite_autoindex_record_1 (id=?)");
    }

    #[test]
    fn a_file_of_an_earlier_version_gets_what_it_misses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(VERSION_1).unwrap();
        let row = "INSERT INTO record (id, timestamp, exec_env_id, object_members, ended) VALUES (?1, 5, 'e', 0, 1)";
        old.execute(row, ["0190163d-8694-739b-aea5-966c26f8ad91"]).unwrap();
        old.execute("INSERT INTO secret VALUES (1, ?1)", [[7_u8; 32]]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        for _ in 0..2 {
            let new = open_writer(&path, Synchronous::Full).unwrap();
            let range = Range::new(Selection::Environment("e".into()), Window::ALL);
            let rows = read_range(&new, COLUMNS, &range, 10, read_row).unwrap();
            assert_eq!((rows.len(), rows[0].record.timestamp.as_micros(), &rows[0].details), (1, 5, &None));
            let secret: [u8; 32] = new.query_row("SELECT bytes FROM secret", [], |row| row.get(0)).unwrap();
            assert_eq!(secret, [7; 32], "page tokens stay good");
            assert_eq!(new.query_row("SELECT count(*) FROM entry", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
        }
        for number in 0..=2 {
            let path = folder.path().join(format!("other-{number}.db"));
            let other = Connection::open(&path).unwrap();
            other.execute_batch("CREATE TABLE post (text TEXT)").unwrap();
            other.pragma_update(None, "user_version", number).unwrap();
            let error = open_writer(&path, Synchronous::Full).unwrap_err().to_string();
            assert!(error.contains("something else"), "{error}");
            let tables: i64 = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
            assert_eq!(tables, 1, "it stays as it is");
        }
        let later = Connection::open(&path).unwrap();
        later.pragma_update(None, "user_version", 1_000).unwrap();
        let error = open_writer(&path, Synchronous::Full).unwrap_err().to_string();
        assert!(error.contains("later version"), "{error}");
    }

    #[test]
    fn a_database_in_memory_is_refused() {
        for path in [":memory:", ""] {
            let error = Sqlite::open(path).unwrap_err().to_string();
            assert!(error.contains("a file is needed"), "{error}");
        }
    }
}
