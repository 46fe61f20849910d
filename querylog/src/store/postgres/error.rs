//! The errors of PostgreSQL, as errors of a store.

use std::error::Error;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::{DbError, SqlState};

use crate::store::StoreError;
use crate::store::postgres::encryption;

/// Returns why there is no connection, without the message of the pool.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn no_connection(error: PoolError) -> String {
    match error {
        PoolError::Backend(error) => message(&error),
        PoolError::Timeout(TimeoutType::Create) => "the server does not respond".to_owned(),
        error => error.to_string(),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failed(error: tokio_postgres::Error) -> StoreError {
    StoreError::failed(message(&error))
}

/// Returns the error for rows that could not be put.
pub(super) fn not_put(error: tokio_postgres::Error) -> StoreError {
    if is_rejection(&error) { StoreError::rejected(message(&error)) } else { failed(error) }
}

/// Returns whether a retry may succeed: entries were left behind when their records were deleted; or the partition of a
/// row was created while the row was on its way to the partition `DEFAULT`, for which no constraint is named.
pub(super) fn is_transient(error: &tokio_postgres::Error) -> bool {
    let constraint = error.as_db_error().and_then(DbError::constraint);
    match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION) => true,
        Some(&SqlState::CHECK_VIOLATION) => constraint.is_none(),
        _ => false,
    }
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
