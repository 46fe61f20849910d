//! The settings of a store in SQLite: [`SqliteBuilder`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::store::StoreError;
use crate::store::sqlite::connections::{open_reader, open_writer};
use crate::store::sqlite::opened_file::OpenedFile;
use crate::store::sqlite::store::{Inner, Sqlite};
use crate::store::sqlite::writer::Writer;

/// The safety of a row when [`put`](crate::store::Store::put) has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Synchronous {
    /// The row is on disk: it survives a power cut (`synchronous=FULL`).
    #[default]
    Full,
    /// The row is with the operating system: it survives a killed process, but a power cut may lose the latest rows.
    /// The file stays intact (`synchronous=NORMAL`).
    Normal,
}

/// The settings of a [`Sqlite`] store. See [`Sqlite::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteBuilder {
    pub(super) path: PathBuf,
    pub(super) synchronous: Synchronous,
    pub(super) readers: usize,
    pub(super) existing: bool,
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
        let writer = open_writer(&self.path, self.synchronous, self.existing)?;
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
            readers: Mutex::new(connections),
        })))
    }
}
