//! Connections to the file: one that writes, and those that read.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Synchronous, tables};
use crate::folder::append_new;
use crate::store::StoreError;

/// How long a connection waits for another process that writes to the same file.
const BUSY: Duration = Duration::from_secs(10);

/// How much of the file the writer keeps in memory: the pages that a batch changes, so that they are read once. Negative
/// numbers are KiB.
const WRITER_CACHE: i64 = -64 * 1_024;
/// How much a reader keeps.
const READER_CACHE: i64 = -8 * 1_024;

/// Where it is to be there already, nothing is made.
pub(super) fn open_writer(path: &Path, synchronous: Synchronous, existing: bool) -> Result<Connection, StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(StoreError::unusable("the folder of the file is not there: make it first"));
    }
    let mut flags = OpenFlags::default();
    if existing {
        flags.remove(OpenFlags::SQLITE_OPEN_CREATE);
    } else {
        // Where it is there, or cannot be made, SQLite says what is wrong with it. Its other files take the mode of this one.
        drop(append_new().open(path));
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(StoreError::unusable)?;
    prepare(&mut connection, synchronous, existing).map_err(StoreError::unusable)??;
    Ok(connection)
}

fn prepare(
    connection: &mut Connection,
    synchronous: Synchronous,
    existing: bool,
) -> rusqlite::Result<Result<(), StoreError>> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(16);
    if tables::is_of_something_else(connection)? {
        return Ok(Err(StoreError::unusable("the file is a database of something else than an audit log")));
    }
    if existing && tables::version(connection)? == 0 {
        return Ok(Err(StoreError::unusable("there is no audit log in this file yet")));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let level = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", level)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    tables::prepare(connection)
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
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
