//! Connections to the file: one that writes, and those that read.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::private_file;
use crate::store::StoreError;
use crate::store::sqlite::settings::Synchronous;
use crate::store::sqlite::tables;

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
        if !path.exists() {
            return Err(StoreError::unusable("there is no such file"));
        }
        flags.remove(OpenFlags::SQLITE_OPEN_CREATE);
    } else {
        // Where it is there, or cannot be made, SQLite says what is wrong with it. Its other files take the mode of this one.
        drop(private_file::append_new(path));
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
    prepare(&mut connection, synchronous, existing).map_err(unusable)??;
    Ok(connection)
}

/// What SQLite says, or more where that does not say what to do.
fn unusable(error: rusqlite::Error) -> StoreError {
    const NOT_OPENED: &str = "the file cannot be opened: see that it is no folder, and that you may read and write it";
    const NOT_WRITTEN: &str = "you may not write to the file or its folder, which SQLite needs to read it too";
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => StoreError::unusable(NOT_OPENED),
        Some(ErrorCode::ReadOnly) => StoreError::unusable(NOT_WRITTEN),
        _ => StoreError::unusable(error),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for existing in [false, true] {
            let error = open_writer(folder.path(), Synchronous::Full, existing).unwrap_err().to_string();
            assert!(error.contains("see that it is no folder"), "{error}");
        }
        let read_only = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        let error = unusable(rusqlite::Error::SqliteFailure(read_only, None)).to_string();
        assert!(error.contains("may not write to the file or its folder"), "{error}");
    }
}
