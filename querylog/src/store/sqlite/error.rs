//! The errors of SQLite, as errors of a store.

use rusqlite::ErrorCode;

use crate::store::StoreError;
use crate::store::sqlite::tables;

/// Returns the error of a query or of a change.
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    if is_overload(&error) {
        tracing::warn!(%error, "audit log: SQLite is overloaded");
        StoreError::Overloaded
    } else if tables::is_later(&error) {
        StoreError::unusable(error)
    } else {
        StoreError::failed(error)
    }
}

/// Returns whether another process has locked the file for longer than a connection waits, or a query took too long.
pub(super) fn is_overload(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, OperationInterrupted};
    error.sqlite_error_code().is_some_and(|code| matches!(code, DatabaseBusy | DatabaseLocked | OperationInterrupted))
}
