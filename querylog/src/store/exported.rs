//! A request as exports read it: [`ExportedRow`].

use crate::model::cursor::Cursor;
use crate::store::Row;

/// A request as exports read it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportedRow {
    /// When it started, and its id.
    pub place: Cursor,
    /// The [details](crate::store::Row::details) of its row; `None` if there is no row at this place, or it has none.
    pub details: Option<String>,
}

impl ExportedRow {
    /// Creates the row of a request.
    pub fn new(place: Cursor, details: Option<String>) -> Self {
        Self { place, details }
    }

    /// The row of a request that was found.
    pub(super) fn of(row: Row) -> Self {
        Self { place: Cursor::of(&row.record), details: row.details }
    }
}

/// How many bytes of details a page of an export has, without its last row.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) const PAGE_BYTES: usize = 8 << 20;
