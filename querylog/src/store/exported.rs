//! A row of an export: [`ExportedRow`].

use crate::model::cursor::Cursor;
use crate::store::Row;

/// What an export reads of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportedRow {
    /// The position of the row: when the request started, and its id.
    pub place: Cursor,
    /// The [details](crate::store::Row::details) of the row; `None` if there is no row at this position, or if it has
    /// none.
    pub details: Option<String>,
}

impl ExportedRow {
    /// Creates a row.
    pub fn new(place: Cursor, details: Option<String>) -> Self {
        Self { place, details }
    }

    /// Creates the exported row of a row.
    pub(super) fn of(row: Row) -> Self {
        Self { place: Cursor::of(&row.record), details: row.details }
    }
}

/// The maximum number of bytes of details in a page of an export, without its last row.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) const PAGE_BYTES: usize = 8 << 20;
