//! Connections to the file: one for writing, and several for reading.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::private_file;
use crate::store::StoreError;
use crate::store::sqlite::error::{failed, is_overload};
use crate::store::sqlite::tables;

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

/// How long a reader waits for another process that has locked the file as a whole, which is rare.
const READER_BUSY: Duration = Duration::from_secs(2);

/// The cache of the writer: large enough for the pages that a batch changes, so that they are read once. Negative
/// numbers are KiB.
const WRITER_CACHE: i64 = -64 * 1_024;
/// The cache of a reader.
const READER_CACHE: i64 = -8 * 1_024;

/// Opens the file for writing, and creates it unless it must exist.
pub(super) fn open_writer(
    path: &Path,
    synchronous: Synchronous,
    busy: Duration,
    existing: bool,
) -> Result<Connection, StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(StoreError::unusable("the folder of the file does not exist; create it first"));
    }
    let mut flags = OpenFlags::default();
    if existing {
        if !path.exists() {
            return Err(StoreError::unusable("the file does not exist"));
        }
        flags.remove(OpenFlags::SQLITE_OPEN_CREATE);
    } else {
        // If the file exists or cannot be created, SQLite reports any error. Its other files get the mode of this one.
        drop(private_file::append_new(path));
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
    connection.busy_timeout(busy).map_err(unusable)?;
    prepare(&mut connection, synchronous, existing).map_err(unusable)??;
    Ok(connection)
}

/// Returns SQLite's error, or one that says what to do.
fn unusable(error: rusqlite::Error) -> StoreError {
    const NOT_OPENED: &str =
        "cannot open the file: check that it is not a directory, and that it is readable and writable";
    const NOT_WRITTEN: &str = "cannot write to the file or its folder, which SQLite requires even for reading";
    match error.sqlite_error_code() {
        _ if is_overload(&error) => {
            StoreError::failed("the file is locked by another process; retry when it has ended")
        }
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
    connection.set_prepared_statement_cache_capacity(16);
    if tables::is_foreign(connection)? {
        return Ok(Err(StoreError::unusable("the file is a database of something else; expected an audit log")));
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
        // A file that was moved away is not created.
        let connection = Connection::open_with_flags(path, OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.busy_timeout(READER_BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", READER_CACHE)?;
        Ok(connection)
    };
    open().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_says_what_to_do_if_the_file_cannot_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        for existing in [false, true] {
            let error =
                open_writer(folder.path(), Synchronous::Full, Duration::ZERO, existing).unwrap_err().to_string();
            assert!(error.contains("check that it is not a directory"), "{error}");
        }
        let missing = folder.path().join("missing.db");
        assert!(open_reader(&missing).is_err() && !missing.exists(), "a reader creates no file");
        let read_only = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        let error = unusable(rusqlite::Error::SqliteFailure(read_only, None)).to_string();
        assert!(error.contains("cannot write to the file or its folder"), "{error}");
    }
}
