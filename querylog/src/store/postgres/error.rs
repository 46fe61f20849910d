//! The errors of PostgreSQL, as errors of a store.

use std::error::Error;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::{DbError, SqlState};

use crate::store::StoreError;
use crate::store::postgres::encryption;

/// Returns the error of a call that gets no connection.
pub(super) fn no_connection(error: PoolError) -> StoreError {
    if let PoolError::Timeout(_) = error { StoreError::Overloaded } else { not_connected(error) }
}

/// Returns why there is no connection, without the message of the pool.
pub(super) fn not_connected(error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => failed(error),
        PoolError::Timeout(TimeoutType::Create) => StoreError::failed("the server does not respond"),
        PoolError::Timeout(_) => StoreError::Overloaded,
        PoolError::Closed => StoreError::Closed,
        error => StoreError::failed(error.to_string()),
    }
}

/// Returns the error of a call that took longer than it may. The reason is logged, since the error has none.
pub(super) fn too_slow(what: &str) -> StoreError {
    tracing::warn!("audit log: PostgreSQL took too long {what}");
    StoreError::Overloaded
}

/// Returns the error of a statement.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failed(error: tokio_postgres::Error) -> StoreError {
    if is_overload(&error) {
        tracing::warn!(error = message(&error), "audit log: PostgreSQL is overloaded");
        return StoreError::Overloaded;
    }
    StoreError::failed(message(&error))
}

/// Returns whether the server has no room, is starting, or took too long, perhaps because of a lock.
fn is_overload(error: &tokio_postgres::Error) -> bool {
    const NO_ROOM: &str = "53";
    let Some(code) = error.code() else { return false };
    let others = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    code.code().starts_with(NO_ROOM) || others.contains(code)
}

/// Returns a copy of an error, for another caller.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Overloaded => StoreError::Overloaded,
        StoreError::Closed => StoreError::Closed,
        StoreError::Rejected(why) => StoreError::rejected(why.to_string()),
        StoreError::Failed(why) => StoreError::failed(why.to_string()),
        StoreError::Unusable(why) => StoreError::unusable(why.to_string()),
    }
}

/// Returns the error for rows that could not be put.
pub(super) fn not_put(error: tokio_postgres::Error) -> StoreError {
    match is_rejection(&error) {
        // The tables change; this is no reason to drop a row.
        true if has_moved(&error) => StoreError::Overloaded,
        true => StoreError::rejected(message(&error)),
        false => failed(error),
    }
}

/// Returns whether entries were left behind when their records were deleted, so that they must be looked for.
pub(super) fn has_entries(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// Returns whether the partition of a row was created while the row was on its way to the partition `DEFAULT`, for which
/// no constraint is named. A retry finds the partition.
pub(super) fn has_moved(error: &tokio_postgres::Error) -> bool {
    let constraint = error.as_db_error().and_then(DbError::constraint);
    error.code() == Some(&SqlState::CHECK_VIOLATION) && constraint.is_none()
}

/// Returns whether a row is the reason, so that a retry would fail too: its data, a constraint, its size, or a trigger.
fn is_rejection(error: &tokio_postgres::Error) -> bool {
    let class = error.code().and_then(|code| code.code().get(..2));
    class.is_some_and(|class| ["22", "23", "54", "P0"].contains(&class))
}

/// Returns the message of an error and of its sources. The detail of the server's message is left out, since it may
/// contain a whole row.
pub(super) fn message(error: &(dyn Error + 'static)) -> String {
    let postgres = error.downcast_ref::<tokio_postgres::Error>();
    if let Some(error) = postgres.and_then(tokio_postgres::Error::as_db_error) {
        return format!("{} (SQLSTATE {})", error.message(), error.code().code());
    }
    let io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    if let Some(why) = io.and_then(encryption::rejection_of) {
        return format!("the certificate of the server was rejected: {why}");
    }
    match error.source().map(message) {
        Some(source) if !error.to_string().contains(&source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}
