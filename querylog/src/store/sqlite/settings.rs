//! How a file is opened.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::store::StoreError;
use crate::store::sqlite::connections::{open_reader, open_writer};
use crate::store::sqlite::opened_file::OpenedFile;
use crate::store::sqlite::store::{Inner, Sqlite};
use crate::store::sqlite::writer::Writer;

/// How safe a row is when [`put`](crate::store::Store::put) has returned.
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
    pub(super) path: PathBuf,
    pub(super) synchronous: Synchronous,
    pub(super) readers: usize,
    pub(super) existing: bool,
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

    /// Makes no file and no tables where there are none: then it is an error to open. For those who only ask.
    pub fn existing(self) -> Self {
        Self { existing: true, ..self }
    }

    /// Opens the file, makes it and its tables where they are not there, and starts the thread that writes. Blocks while
    /// it does so.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, is no database of an audit log, or one of a later version of this crate; or if there
    /// is none, and none is to be made.
    pub fn open(self) -> Result<Sqlite, StoreError> {
        if self.path.as_os_str().is_empty() || self.path.as_os_str() == ":memory:" {
            return Err(StoreError::unusable("a file is needed: a database in memory is one for each connection"));
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
