//! What PostgreSQL says of its faults, and what that means.

use std::error::Error;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::{DbError, SqlState};

use crate::store::StoreError;
use crate::store::postgres::encryption;

/// Why there is no connection, without the words of the pool.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn no_connection(error: PoolError) -> String {
    match error {
        PoolError::Backend(error) => words(&error),
        PoolError::Timeout(TimeoutType::Create) => "the server does not answer".to_owned(),
        error => error.to_string(),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failed(error: tokio_postgres::Error) -> StoreError {
    StoreError::failed(words(&error))
}

/// Why rows are not put.
pub(super) fn not_put(error: tokio_postgres::Error) -> StoreError {
    if is_rejection(&error) { StoreError::rejected(words(&error)) } else { failed(error) }
}

/// Whether it is not so the next time: somebody has deleted records, and left their entries; or has made the partition
/// of a row that was on its way to the partition `DEFAULT`, for which no constraint is named.
pub(super) fn is_passing(error: &tokio_postgres::Error) -> bool {
    let constraint = error.as_db_error().and_then(DbError::constraint);
    match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION) => true,
        Some(&SqlState::CHECK_VIOLATION) => constraint.is_none(),
        _ => false,
    }
}

/// Whether it is for what a row has, so that it stays: its data, a constraint, its size, or what a trigger says.
fn is_rejection(error: &tokio_postgres::Error) -> bool {
    let class = error.code().and_then(|code| code.code().get(..2));
    class.is_some_and(|class| ["22", "23", "54", "P0"].contains(&class))
}

/// The words of an error, and of those that it came from. Of what the server says, the detail is left out, which may have
/// all of a row in it.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let postgres = error.downcast_ref::<tokio_postgres::Error>();
    if let Some(fault) = postgres.and_then(tokio_postgres::Error::as_db_error) {
        return format!("{} (SQLSTATE {})", fault.message(), fault.code().code());
    }
    let io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    if let Some(why) = io.and_then(encryption::not_accepted) {
        return format!("the certificate of the server is not accepted: {why}");
    }
    match error.source().map(words) {
        Some(source) if !error.to_string().contains(&source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}
